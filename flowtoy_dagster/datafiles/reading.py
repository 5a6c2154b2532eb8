"""The records of a file that a step has written, read as they are asked for (language 20.4)."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
import tempfile
import threading
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast, overload

from flowtoy_dagster.datafiles.facts import FileFacts, open_unchanged
from flowtoy_dagster.datafiles.places import PlaceError, missing_package
from flowtoy_dagster.json_text import JsonError, dumps, in_line, loads

_ROWS = 5_000


def read_records(facts: FileFacts) -> Iterator[Any]:
    """The records of a file, one after another; those of CSV are mappings of texts.

    Raises:
        PlaceError: the file is missing, has changed, or holds no records; says which.
    """
    with open_unchanged(facts) as file:
        if facts.format == "jsonl":
            for number, line in enumerate(file, 1):
                yield _record(facts, line, number)
        elif facts.format == "csv":
            yield from _csv_records(facts, file)
        elif facts.format == "parquet":
            yield from _parquet_records(facts, file)
        else:
            raise PlaceError(
                f"the file '{facts.path}' has the format '{facts.format}', which has no records"
            )


class FileRecords(Sequence[Any]):
    """The records of a file as a list of which one is in memory at a time.

    Threads may share it. The records of formats other than JSON Lines are kept as such lines in a
    temporary file.

    Args:
        facts: the file.

    Raises:
        PlaceError: the file is missing, has changed, or holds no records; says which.
    """

    def __init__(self, facts: FileFacts) -> None:
        self._facts = facts
        self._lock = threading.Lock()
        self._starts = array("Q")
        self._file = open_unchanged(facts) if facts.format == "jsonl" else _as_lines(facts)
        size = 0
        for line in self._file:
            self._starts.append(size)
            size += len(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        start = self._starts[index]
        with self._lock:
            self._file.seek(start)
            line = self._file.readline()
        return _record(self._facts, line, index + 1)


def _record(facts: FileFacts, line: bytes, number: int) -> Any:
    try:
        return loads(line)
    except JsonError as error:
        where = f"line {number:,} of the file '{facts.path}'"
        raise PlaceError(f"{where} is not JSON: {in_line(error)}") from None


def _as_lines(facts: FileFacts) -> BinaryIO:
    """The records of a file as lines of JSON."""
    file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - its records are read later
    try:
        for record in read_records(facts):
            file.write(dumps(record) + b"\n")
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _csv_records(facts: FileFacts, file: BinaryIO) -> Iterator[dict[str, str]]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    # One limit for all threads of the process; nothing relies on a smaller one.
    csv.field_size_limit(sys.maxsize)
    try:
        rows = csv.reader(text, strict=True)
        names = next(rows, [])
        for row in rows:
            if len(row) != len(names):
                raise PlaceError(
                    f"line {rows.line_num:,} of the file '{facts.path}' has {len(row)} values, and "
                    f"its first line {len(names)}"
                )
            yield dict(zip(names, row, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise PlaceError(f"the file '{facts.path}' is not CSV in UTF-8: {error}") from None
    finally:
        with contextlib.suppress(ValueError):  # it was closed where it was opened
            text.detach()


def _parquet_records(facts: FileFacts, file: BinaryIO) -> Iterator[Any]:
    missing = missing_package("files of the format 'parquet'", "pyarrow", "parquet")
    if missing is not None:
        raise PlaceError("; ".join(part for part in missing if part))
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=_ROWS):
            yield from map(_plain, batch.to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise PlaceError(f"the file '{facts.path}' is not Parquet: {error}") from None


def _plain(value: Any) -> Any:
    """A value of Parquet as JSON can hold it: moments, decimals and bytes are texts."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
