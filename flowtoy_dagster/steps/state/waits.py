"""What an attempt waits for, for those that show the run."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

EVERY = 10.0
"""Seconds between two texts at least: each is an event in the history of the run."""


class Waits:
    """What an attempt waits for; several threads of it may wait at the same time.

    Args:
        tell: takes the text that is to be shown; an empty one when the attempt goes on.
    """

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._waiting = 0
        self._told_at = -EVERY
        self._shown = False

    @contextlib.contextmanager
    def shown(self, text: str) -> Iterator[None]:
        """Show a text while the block runs, unless another one was shown just now."""
        with self._lock:
            self._waiting += 1
            now = time.monotonic()
            if self._tell is not None and now >= self._told_at + EVERY:
                self._told_at, self._shown = now, True
                self._tell(text)
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                if self._tell is not None and self._shown and not self._waiting:
                    self._shown = False
                    self._tell("")
