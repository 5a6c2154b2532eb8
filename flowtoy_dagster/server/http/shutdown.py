"""How a server of ours is told to end: Ctrl-C, SIGTERM, or a terminal that is closed.

A SIGHUP that is ignored, as `nohup` has it, stays ignored.
"""

from __future__ import annotations

import signal
import threading
from typing import Any

from typing_extensions import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """While it is entered, the signals that end a process are ours.

    Until `expect` is called they raise KeyboardInterrupt; from then on they set `wanted`, and who
    sends two of them does not want to wait.
    """

    def __init__(self) -> None:
        self.wanted = threading.Event()
        self.hurried = threading.Event()
        self._expected = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Explicitly: what a script starts in the background ignores SIGINT.
        self._previous = {
            number: signal.signal(number, self._hear)
            for number in SIGNALS
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def expect(self) -> None:
        """From now on somebody waits for `wanted`."""
        self._expected = True

    def _hear(self, *_: object) -> None:
        if self.wanted.is_set():
            self.hurried.set()
        self.wanted.set()
        if not self._expected:
            self._expected = True
            raise KeyboardInterrupt
