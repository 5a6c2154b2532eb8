"""How long something may take: an alarm in the main thread, a helper in every other one."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flowtoy_dagster.steps.deadline import OutOfTime, within

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
