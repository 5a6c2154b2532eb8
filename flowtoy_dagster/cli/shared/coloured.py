"""Lines with colours on stdout: colours on a terminal alone, and lines that fit into its width."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from flowtoy_dagster.terminal import plain

if TYPE_CHECKING:
    from rich.text import Text

STYLES = {
    "good": "green", "bad": "red", "busy": "cyan", "warn": "yellow", "dim": "dim", "bold": "bold",
}
HANG = 4
"""Characters by which the rest of a folded line stands further to the right."""
LEAST = 7
"""Characters by which it is indented at least."""


def print_parts(lines: Iterable[Sequence[tuple[str, str]]], *, fold: bool = True) -> None:
    """Print lines to stdout.

    Args:
        lines: the parts of each: the style, which is a key of `STYLES` or empty, and the text.
        fold: whether lines that are wider than the terminal go on in the next one.
    """
    if not sys.stdout.isatty():
        for line in lines:
            print(plain("".join(text for _, text in line)).rstrip())
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(
        file=sys.stdout, highlight=False, markup=False, emoji=False,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
    )
    for line in lines:
        text = Text.assemble(*((plain(part), STYLES.get(style, "")) for style, part in line))
        for row in _folded(text, console.width) if fold else [text]:
            console.print(row, soft_wrap=True)


def _folded(text: Text, width: int) -> Iterator[Text]:
    from rich.text import Text

    indent = max(LEAST, len(text.plain) - len(text.plain.lstrip()) + HANG)
    indent = indent if indent < width // 2 else 0
    while text.cell_len > width:
        cut = _cut(text, width, indent)
        yield text[:cut]
        rest = text[cut:]
        rest = rest[len(rest.plain) - len(rest.plain.lstrip()) :]
        text = Text(" " * indent).append_text(rest)
    yield text


def _cut(text: Text, width: int, indent: int) -> int:
    """Where a line is broken: before a word, or within one that is wider than the terminal."""
    fitting = len(text.plain)
    while text[:fitting].cell_len > width:
        fitting -= 1
    blank = text.plain.rfind(" ", indent + 1, fitting + 1)
    begins = blank > indent and text.plain[:blank].strip()
    return blank if begins else max(fitting, indent + 1)
