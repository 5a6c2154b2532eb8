"""How many calls of a source go on in one run, over all of its processes (language 17.1, 18.6).

A call holds the lock of one of the source's files while it runs. A process that is killed gives
its locks back: the system does that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from flowtoy_dagster.datafiles.modes import open_in_mode

_QUEUE = "queue"
"""The lock of the call that gets the next free slot."""


class SourceSlots:
    """The slots of one source in one run.

    Args:
        folder: makes the folder in which the files are, and gives it.
        source: the source's name.
        most: how many slots there are.
    """

    def __init__(self, folder: Callable[[], Path], source: str, most: int) -> None:
        self.source = source
        self.most = most
        self._folder = folder

    @contextlib.contextmanager
    def place(self) -> Iterator[SlotPlace]:
        """A place for one call, without a slot; what it has is given back when the block ends.

        Raises:
            OSError: the files can't be written.
        """
        place = SlotPlace(self._folder(), self.most)
        try:
            yield place
        finally:
            place.leave()


class SlotPlace:
    """One call's way to a slot, and its hold on it.

    Calls that wait are not overtaken by calls that come later. Which of those that wait is the
    next one is a matter of chance.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most
        self._queue: _Lock | None = _Lock(folder / _QUEUE)
        self._slot: _Lock | None = None
        self._waits = False
        self._is_next = False

    def take(self) -> bool:
        """Take a slot, if there is a free one for this call.

        Raises:
            OSError: the files can't be written, or their file system has no locks.
        """
        assert self._queue is not None
        assert self._slot is None
        # As long as nobody waits, calls pass together; one that waits lets nobody pass.
        if not self._is_next and not self._queue.take(alone=self._waits):
            self._waits = True
            return False
        self._slot = self._free_slot()
        if self._slot is None:
            self._is_next = self._waits
            if not self._waits:
                self._queue.give_back()
                self._waits = True
            return False
        self._queue.close()
        self._queue = None
        return True

    def leave(self) -> None:
        """Give the slot back, or leave the queue."""
        for lock in (self._slot, self._queue):
            if lock is not None:
                lock.close()

    def _free_slot(self) -> _Lock | None:
        for number in range(self._most):
            slot = _Lock(self._folder / str(number))
            if slot.take(alone=True):
                return slot
            slot.close()
        return None


class _Lock:
    """A lock on a file, held by this object: not by its process, nor by its thread."""

    def __init__(self, path: Path) -> None:
        self._file = open(open_in_mode(path, os.O_RDWR), "rb")  # noqa: SIM115

    def take(self, *, alone: bool) -> bool:
        """Take it, if nobody holds it; others may hold it too who don't want it alone."""
        try:
            fcntl.flock(self._file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def give_back(self) -> None:
        """Let others take it."""
        # Closing alone would not do for a process that was forked meanwhile.
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give it back for good."""
        if not self._file.closed:
            self.give_back()
            self._file.close()
