"""Tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from flowtoy_dagster.terminal import plain


def print_table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table to stdout, as wide as it must be; nothing where it has no rows."""
    if not rows:
        return
    rows = [tuple(map(plain, row)) for row in rows]
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    for row in (heads, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
