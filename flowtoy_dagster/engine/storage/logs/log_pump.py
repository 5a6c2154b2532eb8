"""The thread that moves what captured steps print into their files, as it comes."""

import contextlib
import os
import select
import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

from typing_extensions import Self


class Drained(Protocol):
    """What a pump empties."""

    @property
    def ends(self) -> Sequence[int]:
        """Descriptors to read from, which never block."""

    def drain(self, end: int) -> bool:
        """Move what is there; False at the end of what comes."""


class LogPump:
    """Empties pipes while a block runs, or from `start` to the end of the process.

    Pipes come and go while the thread waits, which does not wake it: a step that prints nothing
    costs no change of threads.
    """

    def __init__(self) -> None:
        # Only Linux lets what is waited for change meanwhile; elsewhere all is there before.
        self._poll = getattr(select, "epoll", select.poll)()
        self._lock = threading.Lock()
        self._sources: dict[int, Drained] = {}
        self._wake, self._waker = os.pipe()
        self._poll.register(self._wake, select.POLLIN)
        self._thread = threading.Thread(target=self._run, name="log-pump", daemon=True)

    def start(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the thread."""
        os.write(self._waker, b"\0")
        self._thread.join()
        for descriptor in (self._wake, self._waker):
            os.close(descriptor)
        if hasattr(self._poll, "close"):
            self._poll.close()

    def add(self, source: Drained) -> None:
        """Empty something from now on."""
        with self._lock:
            for end in source.ends:
                self._sources[end] = source
                self._poll.register(end, select.POLLIN)

    def remove(self, source: Drained) -> None:
        """Do so no more; nothing of it is being moved when this returns."""
        with self._lock:
            for end in source.ends:
                self._forget(end)

    def _forget(self, end: int) -> None:
        if self._sources.pop(end, None) is not None:
            self._poll.unregister(end)

    def _run(self) -> None:
        while True:
            for end, _ in self._poll.poll():
                if end == self._wake:
                    return
                with self._lock:
                    source = self._sources.get(end)
                    if source is not None and not source.drain(end):
                        self._forget(end)


class Pumps:
    """The pump of a process, or one for each time that something is captured."""

    def __init__(self) -> None:
        self._kept: LogPump | None = None

    def keep(self) -> None:
        """Have one for all, where the system allows it."""
        if hasattr(select, "epoll") and self._kept is None:
            self._kept = LogPump().start()

    @contextlib.contextmanager
    def emptying(self, source: Drained) -> Iterator[None]:
        """Empty something while a block runs."""
        pump = self._kept or LogPump()
        pump.add(source)
        if pump is not self._kept:
            pump.start()
        try:
            yield
        finally:
            pump.remove(source)
            if pump is not self._kept:
                pump.stop()
