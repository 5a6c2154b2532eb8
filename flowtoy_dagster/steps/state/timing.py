"""The time of an attempt: by it, a step waits between calls and counts how long it may take.

In tests of flows it is virtual: a wait takes no time, and the clock is ahead by its length.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Protocol

_SLICE = 1.0
"""Seconds after which a waiting thread looks about: it is interrupted between two of them."""


class Time(Protocol):
    """A clock, and waits that it counts."""

    def now(self) -> float:
        """Seconds of the monotonic clock."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for so many seconds, or until an event is set; gives whether it is."""

    def branch(self) -> contextlib.AbstractContextManager[Time]:
        """The time of something that goes on next to others, for the length of a block."""


class RealTime:
    """The time that passes."""

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for so many seconds, or until an event is set; gives whether it is."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if event.wait(min(left, _SLICE)):
                return True
        return event.is_set()

    @contextlib.contextmanager
    def branch(self) -> Iterator[RealTime]:
        """The same time."""
        yield self


class VirtualTime:
    """A time that is ahead of the real one by all waits so far.

    Args:
        ahead: seconds that it is ahead at the beginning.

    Attributes:
        ahead: seconds that it is ahead now; those of its branches are not in it.
    """

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead
        self._longest = ahead
        self._lock = threading.Lock()

    @property
    def ends(self) -> float:
        """Seconds that it is ahead when all its branches have ended."""
        return max(self.ahead, self._longest)

    def now(self) -> float:
        """Seconds of the monotonic clock, and those that were waited."""
        return time.monotonic() + self.ahead

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Put the clock forward, unless an event is set; gives whether it is."""
        if event.is_set():
            return True
        with self._lock:
            self.ahead += max(0.0, seconds)
        return False

    @contextlib.contextmanager
    def branch(self) -> Iterator[VirtualTime]:
        """A time of its own; this one has it behind it when the longest of them has ended."""
        own = VirtualTime(self.ahead)
        try:
            yield own
        finally:
            with self._lock:
                self._longest = max(self._longest, own.ends)
