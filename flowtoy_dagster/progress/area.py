"""A few lines at the bottom of a terminal that are drawn again, below what is printed meanwhile.

`rich.live` draws them. The cursor rests below them and is never hidden, so that the terminal is
usable however the process ends.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

Line = Sequence[tuple[str, str]]
"""Parts of a line: the style, which is a key of `STYLES` or empty, and the text."""
STYLES = {
    "good": "green", "bad": "red", "busy": "cyan", "warn": "yellow", "dim": "dim", "bold": "bold",
}


class TerminalArea:
    """Lines that are drawn again in place.

    Args:
        stream: the terminal.
        coloured: whether styles show.
    """

    def __init__(self, stream: TextIO, *, coloured: bool) -> None:
        self._stream = stream
        self._coloured = coloured
        self._console: Console
        self._live: Live | None = None
        self._drawn: list[Line] = []
        self._width = 0

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
        width, height = self.size()
        if self._drawn == list(lines) and width == self._width and not above:
            return
        if width < self._width:
            self._erase(width)
        # The empty line at the end is where the cursor rests.
        group = Group(*(_text(line, width - 1) for line in lines), "")
        if self._live is None:
            self._live = self._started(group)
        # Where COLUMNS is exported, rich believes it more than the terminal.
        self._console.size = ConsoleDimensions(width, height)
        if above:
            self._console.print("\n".join(above), soft_wrap=True)
        self._live.update(group, refresh=True)
        self._drawn, self._width = list(lines), width

    def forget(self) -> None:
        """Leave what was drawn where it is, and draw below it from now on."""
        self._live, self._drawn, self._width = None, [], 0

    def _started(self, group: Group) -> Live:
        self._console = _VisibleCursorConsole(
            file=self._stream,
            force_terminal=True,
            force_interactive=True,
            no_color=not self._coloured,
            color_system="standard" if self._coloured else None,
            markup=False,
            highlight=False,
            emoji=False,
        )
        live = Live(
            group, console=self._console, auto_refresh=False, redirect_stdout=False,
            redirect_stderr=False, vertical_overflow="crop",
        )
        self._stream.write("\r\x1b[J")
        live.start()
        return live

    def _erase(self, width: int) -> None:
        """Erase what was drawn: it takes more rows where the terminal has become narrower."""
        cells = [_text(line, self._width - 1).cell_len for line in self._drawn]
        rows = sum(-(-count // width) or 1 for count in cells)
        self._stream.write(f"\r\x1b[{rows}A\x1b[J" if rows else "\r\x1b[J")
        self.forget()


class _VisibleCursorConsole(Console):
    """A console whose cursor `Live` can't hide: a killed process would leave it hidden."""

    def show_cursor(self, show: bool = True) -> bool:
        """Change nothing."""
        return False


def _text(line: Line, width: int) -> Text:
    """A line that fits into a width, cut off with an ellipsis."""
    text = Text.assemble(*((part, STYLES.get(style, "")) for style, part in line))
    text.truncate(width, overflow="ellipsis")
    return text
