"""Threads that do one thing after another: starting one takes as long as a part of a short call."""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable

IDLE = "flowtoy-idle"
"""The name of a thread while it has nothing to do."""
_KEPT = 0.1
"""Seconds that a thread waits for something else to do before it ends."""


class KeptThreads:
    """Daemon threads of one process; those that have nothing to do end soon.

    Args:
        name: of a thread while it works.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._idle: list[_KeptThread] = []

    def begin(self, work: Callable[[], None], ended: Callable[[], None]) -> None:
        """Have a thread do something; returns at once.

        Args:
            work: what is done; it must not raise.
            ended: called after that, when the thread can be used again.
        """
        with self._lock:
            thread = self._idle.pop() if self._idle else None
        if thread is None:
            thread = _KeptThread(self._leave)
            thread.start()
        thread.name = self._name
        thread.work.put((work, functools.partial(self._end, thread, ended)))

    def _end(self, thread: _KeptThread, ended: Callable[[], None]) -> None:
        thread.name = IDLE
        with self._lock:
            self._idle.append(thread)
        ended()

    def _leave(self, thread: _KeptThread) -> bool:
        """Whether a thread that got nothing to do may end: not if it is just being given some."""
        with self._lock:
            if thread not in self._idle:
                return False
            self._idle.remove(thread)
        return True


class _KeptThread(threading.Thread):
    def __init__(self, leave: Callable[[_KeptThread], bool]) -> None:
        super().__init__(daemon=True)
        self.work: queue.SimpleQueue[tuple[Callable[[], None], Callable[[], None]]]
        self.work = queue.SimpleQueue()
        self._leave = leave

    def run(self) -> None:
        while True:
            try:
                work, ended = self.work.get(timeout=_KEPT)
            except queue.Empty:
                if self._leave(self):
                    return
                continue
            try:
                work()
            finally:
                ended()
            del work, ended  # nothing is kept alive while it waits
