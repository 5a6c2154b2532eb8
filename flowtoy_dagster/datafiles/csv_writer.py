"""CSV: each record a line, with a column for each key that any of them has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowtoy_dagster.datafiles.writing import TableWriter, Write
from flowtoy_dagster.json_text import dumps


class CsvWriter(TableWriter):
    """CSV as RFC 4180 has it, in UTF-8, with a line of names and `\\n` at the ends of lines."""

    def __init__(self, write: Write, columns: Sequence[str] | None, folder: Path) -> None:
        super().__init__(columns, folder)
        self._write = write

    def write_table(self) -> None:
        if self.columns:
            self._write(_row(self.columns))
        for batch in self.batches():
            self._write(b"".join(_row(map(record.get, self.columns)) for record in batch))


def _row(values: Any) -> bytes:
    cells = [_cell(value) for value in values]
    # A line with nothing in it would be no record.
    return ((",".join(cells) or '""') + "\n").encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value if isinstance(value, str) else dumps(value).decode()
    is_plain = text and text.strip() == text and not any(mark in text for mark in ',"\r\n')
    # At the beginning of a file a byte order mark would be taken for that of the file.
    if is_plain and not text.startswith("\ufeff"):
        return text
    return '"' + text.replace('"', '""') + '"'
