"""What the commands of one item print: passed on in whole lines, and kept with its result."""

from __future__ import annotations

import threading

from flowtoy_dagster.providers.base import Output
from flowtoy_dagster.steps.state.mask import MaskedStreams, StepMask

KEPT = 32 << 10
"""Bytes at the beginning of a stream, and at its end, that are kept with an item's result."""
NOT_KEPT = "(what this item printed is not kept: its secret outputs are not known)\n"
_LONGEST_LINE = 1 << 16


class LineOutput:
    """Takes what several items print at once, and passes it on in whole lines."""

    def __init__(self, output: Output | None) -> None:
        self._output = output
        self._lock = threading.Lock()

    def __call__(self, stream: str, data: bytes) -> None:
        """Pass lines of one item on."""
        if self._output is not None and data:
            with self._lock:
                self._output(stream, data)


class ItemOutput:
    """What one attempt of an item prints, secrets hidden.

    Args:
        mask: hides what the item knows to be secret.
        lines: takes it as it comes.
    """

    def __init__(self, mask: StepMask, lines: LineOutput) -> None:
        self._streams = MaskedStreams(mask)
        self._lines = lines
        self._line = {"stdout": b"", "stderr": b""}
        self._kept = {"stdout": _Kept(), "stderr": _Kept()}

    def __call__(self, stream: str, data: bytes) -> None:
        """Take a piece of what a command prints."""
        self._pass_on(stream, self._streams.take(stream, data))

    def close(self) -> dict[str, str]:
        """Pass the rest on; gives the texts that are to be kept, by stream."""
        if self._streams.is_waiting:
            # Nobody will know what in it is secret.
            return {"stdout": NOT_KEPT}
        for stream in self._kept:
            self._pass_on(stream, self._streams.rest(stream))
            rest = self._line[stream]
            self._lines(stream, rest if rest.endswith(b"\n") or not rest else rest + b"\n")
        return {stream: text for stream, kept in self._kept.items() if (text := kept.text())}

    def _pass_on(self, stream: str, hidden: bytes) -> None:
        self._kept[stream].add(hidden)
        whole, end, rest = (self._line[stream] + hidden).rpartition(b"\n")
        if len(rest) > _LONGEST_LINE:
            whole, rest = whole + end + rest, b""
            end = b""
        self._lines(stream, whole + end)
        self._line[stream] = rest


class _Kept:
    """The first and the last part of a stream."""

    def __init__(self) -> None:
        self._first = bytearray()
        self._last = bytearray()
        self._omitted = 0

    def add(self, data: bytes) -> None:
        room = KEPT - len(self._first)
        self._first += data[:room]
        self._last += data[room:]
        over = len(self._last) - KEPT
        if over > 0:
            self._omitted += over
            del self._last[:over]

    def text(self) -> str:
        middle = b"\n... %d bytes were left out here\n" % self._omitted if self._omitted else b""
        return (self._first + middle + self._last).decode("utf-8", "replace")
