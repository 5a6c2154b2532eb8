"""How long something may take, in any thread."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Generic, TypeVar

from flowtoy_dagster.errors import met_by

T = TypeVar("T")

RUN_OUT_OF_TIME = "the run's timeout has passed"
EXIT_UNINTERRUPTIBLE = 124
"""A worker's exit code when a step ran out of time in code that can't be interrupted."""
GRACE = 8.0
"""Seconds that a step has to clean up after its time ran out."""
_SOON = 0.001
_STANDING = 0.02


class OutOfTime(BaseException):
    """Raised in a step when its time is up; not an `Exception`, so that no provider catches it."""

    def __init__(self, limit: float = 0.0) -> None:
        self.limit = limit
        super().__init__(f"timed out after {limit:g} s")


class Clock:
    """The time that something may take; the clock may stop while a call waits for its turn.

    Args:
        limit: seconds; None is for ever.
        latest: when it must have ended in any case, in seconds of the monotonic clock.
        now: gives the seconds of the monotonic clock.
    """

    def __init__(
        self,
        limit: float | None,
        latest: float | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self.limit = math.inf if limit is None else limit
        self._latest = math.inf if latest is None else latest
        self._deadline = now() + self.limit
        self._left: float | None = None

    @property
    def deadline(self) -> float | None:
        """When it must have ended, in seconds of the monotonic clock; None is never."""
        found = min(self._deadline, self._latest)
        return None if math.isinf(found) else found

    def left(self) -> float:
        """Seconds that are left at least."""
        now, stopped = self._now(), self._left
        # A caller that waits while it stands still asks again after this time, not too often.
        left = self._deadline - now if stopped is None else max(stopped, _STANDING)
        return min(left, self._latest - now)

    @property
    def ends_with_latest(self) -> bool:
        """Whether `latest` comes first."""
        return self._latest <= self._deadline

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Let the clock stand still while the block runs; `latest` comes all the same."""
        self._left = max(0.0, self._deadline - self._now())
        try:
            yield
        finally:
            self._deadline = self._now() + self._left
            self._left = None


def exit_uninterruptible() -> None:
    """End this process: nothing else ends native code, or a name that is being looked up."""
    os._exit(EXIT_UNINTERRUPTIBLE)


def within(
    limit: float | Clock | None,
    function: Callable[[], T],
    give_up: Callable[[], None] | None = None,
) -> T:
    """Call a function, which is left when `limit` seconds have passed.

    In the main thread an alarm interrupts it. In any other thread it runs in a thread of its own,
    which is interrupted where it runs Python code, and abandoned where it does not.

    Args:
        limit: seconds, or a clock that counts them; None is for ever.
        function: what is called.
        give_up: called `GRACE` seconds after the limit where the main thread can't be
            interrupted; ends the process.

    Raises:
        OutOfTime: the function took too long.
    """
    clock = limit if isinstance(limit, Clock) else Clock(limit)
    left = clock.left()
    if math.isinf(left):
        return function()
    if left <= 0:
        raise OutOfTime(clock.limit)
    if threading.current_thread() is threading.main_thread():
        return _Alarm(clock, give_up).call(function)
    return _Helper(clock, function).result()


class _Alarm:
    """SIGALRM, which raises within one call of a function and nowhere else."""

    def __init__(self, clock: Clock, give_up: Callable[[], None] | None) -> None:
        self._clock = clock
        self._give_up = give_up
        self._armed = False
        self._report = sys.unraisablehook

    def call(self, function: Callable[[], T]) -> T:
        previous = signal.signal(signal.SIGALRM, self._ring)
        sys.unraisablehook = self._ring_again
        watchdog = _Watchdog(self._clock, self._give_up) if self._give_up else None
        began = time.monotonic()
        # It rings again, should code that catches everything have caught it.
        theirs, interval = signal.setitimer(
            signal.ITIMER_REAL, max(self._clock.left(), _SOON), GRACE
        )
        self._armed = True
        try:
            return function()
        except Exception as error:
            if self._clock.left() <= 0 and met_by(error, OutOfTime) is not None:
                raise OutOfTime(self._clock.limit) from error
            raise
        finally:
            self._armed = False  # what rings later, rings for nobody
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
            sys.unraisablehook = self._report
            if watchdog is not None:
                watchdog.end()
            if theirs:
                # Somebody else's timer, in a process that is not ours, goes on.
                left = max(theirs - (time.monotonic() - began), _SOON)
                signal.setitimer(signal.ITIMER_REAL, left, interval)

    def _ring(self, _: int, frame: FrameType | None) -> None:
        if not self._armed:
            return
        if frame is not None and frame.f_code is _Alarm.call.__code__:
            # Between two lines of `call`, where raising would skip what must be put back.
            signal.setitimer(signal.ITIMER_REAL, _SOON, GRACE)
            return
        left = self._clock.left()
        if left > 0:  # the clock has stood still meanwhile
            signal.setitimer(signal.ITIMER_REAL, max(left, _SOON), GRACE)
            return
        raise OutOfTime(self._clock.limit)

    def _ring_again(self, lost: sys.UnraisableHookArgs) -> None:
        """An alarm that rang in a finalizer, where Python ignores what is raised, rings again."""
        if self._armed and lost.exc_type is OutOfTime:
            signal.setitimer(signal.ITIMER_REAL, _SOON, GRACE)
        else:
            self._report(lost)


class _Watchdog:
    """Calls a function `GRACE` seconds after a clock's end, unless it was ended before."""

    def __init__(self, clock: Clock, bite: Callable[[], None]) -> None:
        self._bite = bite
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._clock = clock
        threading.Thread(target=self._watch, name="flowtoy-watchdog", daemon=True).start()

    def end(self) -> None:
        """It does not bite any more."""
        with self._lock:
            self._ended.set()

    def _watch(self) -> None:
        while (left := self._clock.left() + GRACE) > 0:
            if self._ended.wait(min(left, threading.TIMEOUT_MAX)):
                return
        with self._lock:
            if not self._ended.is_set():
                self._bite()


class _Helper(threading.Thread, Generic[T]):
    """A function in a thread of its own, left alone when its time is up."""

    def __init__(self, clock: Clock, function: Callable[[], T]) -> None:
        super().__init__(name="flowtoy-step", daemon=True)
        self._clock = clock
        self._function = function
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._over = False
        self._error: BaseException | None = None
        self._value: T

    def run(self) -> None:
        # An interrupt may come as late as this method ends; nobody waits for the result then.
        with contextlib.suppress(OutOfTime):
            try:
                self._value = self._function()
            except BaseException as error:  # noqa: BLE001 - raised where the result is taken
                self._error = error
            finally:
                self._done.set()
                with self._lock:
                    self._over = True

    def result(self) -> T:
        """What the function returns or raises."""
        self.start()
        try:
            ended = False
            while not ended and (left := self._clock.left()) > 0:
                ended = self._done.wait(min(left, threading.TIMEOUT_MAX))
        except BaseException:
            self._interrupt()
            raise
        if not ended:
            self._interrupt()
            raise OutOfTime(self._clock.limit)
        if self._error is not None:
            raise self._error
        return self._value

    def _interrupt(self) -> None:
        """Raise in the thread, at its next line of Python.

        Not where it is over: the system gives its number to the next thread that starts.
        """
        with self._lock:
            if self._over or self.ident is None:
                return
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self.ident), ctypes.py_object(OutOfTime)
            )
