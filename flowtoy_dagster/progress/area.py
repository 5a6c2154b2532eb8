"""A few lines at the bottom of a terminal that are drawn anew, below what is printed meanwhile.

The cursor rests below them and is never hidden, so that a terminal needs no mending, however the
process ends.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TextIO

from rich.cells import cell_len, set_cell_size

Line = Sequence[tuple[str, str]]
"""Parts of a line: the style, which is a key of `STYLES` or empty, and the text."""
STYLES = {"good": "32", "bad": "31", "busy": "36", "warn": "33", "dim": "2", "bold": "1"}

_UP, _ERASE_LINE, _ERASE_BELOW = "\x1b[{}A", "\x1b[K", "\x1b[J"
_CONTROLS = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles and links
    r"|\x1b.|[\x00-\x08\x0a-\x1f\x7f-\x9f]"
)


class TerminalArea:
    """Lines that are drawn anew.

    Args:
        stream: the terminal.
        coloured: whether styles show.
    """

    def __init__(self, stream: TextIO, *, coloured: bool) -> None:
        self._stream = stream
        self._coloured = coloured
        self._drawn: list[int] = []
        self._last: list[str] = []

    def size(self) -> os.terminal_size:
        """Columns and lines of the terminal."""
        try:
            found = os.get_terminal_size(self._stream.fileno())
        except OSError:
            found = os.terminal_size((0, 0))
        return os.terminal_size((found.columns or 80, found.lines or 24))

    def draw(self, lines: Sequence[Line], above: Sequence[str] = ()) -> None:
        """Draw lines in place of those before.

        Args:
            lines: cut off at the terminal's width; must be fewer than its lines.
            above: printed over them, to stay.
        """
        width = self.size().columns
        fitted = [_fit(line, width - 1) for line in lines]
        shown = ["".join(self._styled(*part) for part in line) for line in fitted]
        if shown == self._last and not above:
            return
        # What was drawn takes more rows where the terminal has become narrower since.
        rows = sum(-(-cells // width) or 1 for cells in self._drawn)
        start = f"\r{_UP.format(rows)}" if rows else "\r"
        body = "".join(f"{line}{_ERASE_LINE}\n" for line in [*above, *shown])
        self._stream.write(f"{start}{body}{_ERASE_BELOW}")
        self._stream.flush()
        self._drawn = [sum(cell_len(text) for _, text in line) for line in fitted]
        self._last = shown

    def forget(self) -> None:
        """Take what was drawn for gone, and draw below it from now on."""
        self._drawn, self._last = [], []

    def _styled(self, style: str, text: str) -> str:
        code = STYLES.get(style)
        return f"\x1b[{code}m{text}\x1b[0m" if code and self._coloured and text else text


def plain(text: str) -> str:
    """A text without what would move the cursor or change colours."""
    return _CONTROLS.sub("", text).replace("\t", "    ")


def _fit(line: Line, width: int) -> list[tuple[str, str]]:
    """The parts of a line that fit, the last one cut off with an ellipsis."""
    fitted: list[tuple[str, str]] = []
    left = width
    for style, text in line:
        cells = cell_len(text)
        if cells > left:
            fitted.append((style, set_cell_size(text, max(0, left - 1)) + "…"[: max(0, left)]))
            break
        fitted.append((style, text))
        left -= cells
    return fitted
