"""The formats in which records are written (language 20.1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flowtoy_dagster.datafiles.csv_writer import CsvWriter
from flowtoy_dagster.datafiles.writing import LineWriter, RecordWriter, Write

CONTENT_TYPES = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "raw": "application/octet-stream",
}
SUFFIXES = {"jsonl": ".jsonl", "csv": ".csv", "parquet": ".parquet", "raw": ".bin"}


def writer_of(
    name: str, write: Write, columns: Sequence[str] | None, folder: Path
) -> RecordWriter:
    """What writes records in a format.

    Args:
        name: the format.
        write: takes the file's bytes.
        columns: as `columns` has them, where it is given.
        folder: where temporary files may be.
    """
    if name == "csv":
        return CsvWriter(write, columns, folder)
    if name == "parquet":
        # Slow to import, and an extra.
        from flowtoy_dagster.datafiles.parquet_writer import ParquetWriter

        return ParquetWriter(write, columns, folder)
    return LineWriter(write)
