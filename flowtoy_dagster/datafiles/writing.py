"""What writes records page by page, whatever the format."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from flowtoy_dagster.json_text import JsonError, dumps, loads_checked

Write = Callable[[bytes], None]
_BATCH = 5_000
"""Records that are in memory at once while what was written is read again."""
_BATCH_BYTES = 8 << 20


class FormatError(ValueError):
    """Records can't be written in a format; says which, and why.

    Args:
        reason: why.
        fixes: what to do, one way or the other.
        by_value: what may be done besides where the output's 'value' selects records.
    """

    def __init__(self, reason: str, *fixes: str, by_value: str | None = None) -> None:
        self._reason = reason
        self._fixes = fixes
        self._by_value = by_value
        super().__init__(self.told(selects=True))

    def told(self, *, selects: bool) -> str:
        """The reason and what to do.

        Args:
            selects: whether the output's 'value' selects records. Else it names a file of a
                command, whose records are what it prints.
        """
        ways = list(self._fixes)
        if self._by_value is not None:
            ways.append(self._by_value if selects else "change what the command prints")
        return f"{self._reason}; {', or '.join(ways)}" if ways else self._reason


class RecordWriter(ABC):
    """Writes records page by page.

    Attributes:
        count: how many were taken.
    """

    def __init__(self) -> None:
        self.count = 0

    @abstractmethod
    def take(self, records: Sequence[Any]) -> None:
        """Write the records of a page.

        Raises:
            FormatError: the format can't hold one of them.
        """

    def finish(self) -> None:  # noqa: B027 - there may be nothing to do
        """There are no more.

        Raises:
            FormatError: the format can't hold them.
        """

    def close(self) -> None:  # noqa: B027 - there may be nothing to do
        """Release what it holds besides the file."""


def line_of(record: Any, number: int) -> bytes:
    """A record as a line of JSON.

    Raises:
        FormatError: JSON can't hold it.
    """
    try:
        return dumps(record) + b"\n"
    except JsonError as error:
        place = f" at {error.path}" if error.path else ""
        raise FormatError(f"record {number:,}{place}: {error.why}") from None


class LineWriter(RecordWriter):
    """JSON Lines: one record a line, of any type."""

    def __init__(self, write: Write) -> None:
        super().__init__()
        self._write = write

    def take(self, records: Sequence[Any]) -> None:
        start = self.count + 1
        self._write(b"".join(line_of(record, start + i) for i, record in enumerate(records)))
        self.count += len(records)


class TableWriter(RecordWriter):
    """A format with columns.

    The columns are known when all records are, so records are kept in a temporary file until then.

    Args:
        columns: the columns, in their order; None for all, in the order in which they come.
        folder: where the temporary file is.
    """

    def __init__(self, columns: Sequence[str] | None, folder: Path) -> None:
        super().__init__()
        self._spool = cast(BinaryIO, tempfile.TemporaryFile(dir=folder))  # noqa: SIM115
        self._fixed = columns is not None
        self.columns = dict.fromkeys(columns or ())

    def take(self, records: Sequence[Any]) -> None:
        lines: list[bytes] = []
        for record in records:
            self.count += 1
            if not isinstance(record, Mapping):
                raise FormatError(
                    f"record {self.count:,} is not a mapping, so it has no columns; "
                    "'format: jsonl' takes records of any type"
                )
            new = [key for key in record if key not in self.columns]
            if new and self._fixed:
                raise FormatError(
                    f"record {self.count:,} has the key '{new[0]}', which 'columns' does not list",
                    "list it", by_value="select other keys by 'value'",
                )
            self.columns.update(dict.fromkeys(map(str, new)))
            self.look(record)
            lines.append(line_of(record, self.count))
        self._spool.writelines(lines)

    def look(self, record: Mapping[str, Any]) -> None:
        """Note what must be known of a record before the first one is written."""

    def finish(self) -> None:
        if self.count and not self.columns:
            raise FormatError(
                "none of the records has a key, so there are no columns to count them by; "
                "'format: jsonl' takes such records"
            )
        self.write_table()

    @abstractmethod
    def write_table(self) -> None:
        """Write the records that were taken; there is a column, or no record."""

    def batches(self) -> Iterator[list[dict[str, Any]]]:
        """The records that were taken, some at a time."""
        self._spool.seek(0)
        batch: list[dict[str, Any]] = []
        size = 0
        for line in self._spool:
            batch.append(loads_checked(line))
            size += len(line)
            if len(batch) >= _BATCH or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def close(self) -> None:
        self._spool.close()
