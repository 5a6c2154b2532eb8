"""How long something may take: an alarm in the main thread, a helper in every other one."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flowtoy_dagster.steps.state.deadline import Clock, OutOfTime, _Helper, within

PATIENCE = 60.0


@pytest.fixture(autouse=True)
def own_timer() -> Iterator[None]:
    """The tests' own timeout uses the same timer: it is put back after each of these."""
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    yield
    if left:
        signal.setitimer(signal.ITIMER_REAL, left)


def for_ever() -> None:
    """Run Python code until something interrupts it."""
    while True:
        time.sleep(0.001)


def suppressing() -> None:
    """The same, with every `Exception` caught."""
    with contextlib.suppress(Exception):
        for_ever()


def in_a_thread(function: Callable[[], Any]) -> Any:
    """What a function returns or raises in a thread that is not the main one."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(function())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(PATIENCE)
    (value,) = found
    if isinstance(value, BaseException):
        raise value
    return value


def here(function: Callable[[], Any]) -> Any:
    """What a function returns or raises in the main thread."""
    return function()


EVERYWHERE = pytest.mark.parametrize("place", [here, in_a_thread])


# language 10.2
@EVERYWHERE
@pytest.mark.parametrize("endless", [for_ever, suppressing])
def test_what_takes_too_long_is_left(
    place: Callable[..., Any], endless: Callable[[], None]
) -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(OutOfTime, match=r"timed out after 0\.05 s"):
        place(lambda: within(0.05, endless))
    assert signal.getsignal(signal.SIGALRM) is before


# language 10.2
@EVERYWHERE
def test_what_has_no_time_left_is_not_begun(place: Callable[..., Any]) -> None:
    with pytest.raises(OutOfTime):
        place(lambda: within(0.0, lambda: pytest.fail("it was begun")))


# language 10.2
@EVERYWHERE
@pytest.mark.parametrize("limit", [None, 60.0])
def test_what_ends_in_time_gives_its_value_and_its_error(
    place: Callable[..., Any], limit: float | None
) -> None:
    assert place(lambda: within(limit, lambda: 1)) == 1
    with pytest.raises(ZeroDivisionError):
        place(lambda: within(limit, lambda: 1 // 0))


# language 10.2
def test_python_code_that_is_left_in_a_thread_ends() -> None:
    ended = threading.Event()

    def endless() -> None:
        try:
            for_ever()
        finally:
            ended.set()

    with pytest.raises(OutOfTime):
        in_a_thread(lambda: within(0.05, endless))
    assert ended.wait(PATIENCE)


# language 10.2
def test_an_alarm_that_rings_in_a_finalizer_rings_again() -> None:
    """What is raised there, Python reports and forgets."""

    class Slow:
        def __del__(self) -> None:
            for_ever()

    before = sys.unraisablehook
    with pytest.raises(OutOfTime):
        within(0.05, lambda: (Slow() is None, for_ever()))
    assert sys.unraisablehook is before


def test_the_alarm_of_somebody_else_goes_on_afterwards() -> None:
    """A host of ours may have a timer of its own, with its own handler."""
    rings: list[float] = []
    theirs = signal.signal(signal.SIGALRM, lambda *_: rings.append(time.monotonic()))
    began = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        with pytest.raises(OutOfTime):
            within(0.05, for_ever)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 0.4
        end = time.monotonic() + PATIENCE
        while not rings and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, theirs)
    assert len(rings) == 1
    assert rings[0] - began >= 0.4


def test_no_alarm_and_no_watchdog_is_left_near_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions that end just when their time does: what rings late must ring for nobody."""
    monkeypatch.setattr("flowtoy_dagster.steps.state.deadline.GRACE", 0.05)
    late: list[int] = []
    running: list[int] = []
    before = signal.getsignal(signal.SIGALRM)

    def busy(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass

    for number in range(400):
        running.append(number)
        with contextlib.suppress(OutOfTime):
            within(
                0.002,
                lambda: busy(0.0019),
                lambda number=number: None if number in running else late.append(number),
            )
        running.clear()
        assert signal.getsignal(signal.SIGALRM) is before
        # Only the tests' own timeout may be there.
        left, interval = signal.getitimer(signal.ITIMER_REAL)
        assert interval == 0
        assert left == 0 or left > 1
    busy(0.1)
    watchdogs = [t for t in threading.enumerate() if t.name == "flowtoy-watchdog"]
    for watchdog in watchdogs:
        watchdog.join(PATIENCE)
    assert late == []


def test_what_catches_everything_is_interrupted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowtoy_dagster.steps.state.deadline.GRACE", 0.05)
    caught: list[BaseException] = []

    def stubborn() -> None:
        try:
            for_ever()
        except BaseException as error:
            caught.append(error)
        for_ever()

    with pytest.raises(OutOfTime):
        within(0.05, stubborn)
    assert len(caught) == 1


def test_what_the_alarm_breaks_is_out_of_time_too() -> None:
    # A wait for a lock that is left while it takes the lock back gives back what it does not have.
    lock = threading.Lock()

    def leave_without_the_lock() -> None:
        try:
            for_ever()
        finally:
            lock.release()

    with pytest.raises(OutOfTime):
        within(0.05, leave_without_the_lock)


def test_a_helper_that_has_ended_interrupts_no_other_thread_of_its_number() -> None:
    """A system gives the number of a thread that has ended to the next one."""
    go, interrupted = threading.Event(), threading.Event()

    def work() -> None:
        try:
            while not go.wait(0.01):
                pass
        except OutOfTime:
            interrupted.set()

    helper = _Helper(Clock(PATIENCE), lambda: None)
    helper.result()
    helper.join()
    other = threading.Thread(target=work, daemon=True)
    other.start()
    helper._ident = other.ident  # type: ignore[attr-defined] - as chance would have it
    helper._interrupt()
    time.sleep(0.1)
    go.set()
    other.join(PATIENCE)
    assert not interrupted.is_set()
