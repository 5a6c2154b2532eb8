"""Parquet, by pyarrow: each column has one type, which all records are looked at for."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flowtoy_dagster.datafiles.writing import FormatError, TableWriter, Write

_LONG, _LONGEST = 1 << 63, 1 << 64
_EXACT = 1 << 53
"""Integers up to here are floats without loss."""
_DEEPEST = 98
"""Levels of nesting that readers of Parquet take, such as pyarrow's own."""
_OTHER_FORMAT = "write 'format: jsonl'"
_AS_TEXT = "make it text by 'value', such as to_string(…)"
_LEVELS = {"a list": 2, "a mapping": 1}
_SCALARS = {bool: "true or false", int: "a number", float: "a number", str: "text"}


@dataclass
class Shape:
    """What was found in a column, or in a part of one.

    Attributes:
        kind: `true or false`, `a number`, `text`, `a list` or `a mapping`; None for null alone.
        record: the first record with it.
        is_float: whether a number has a fraction.
        least: the least integer.
        most: the largest integer.
        items: of a list.
        keys: of a mapping.
    """

    kind: str | None = None
    record: int = 0
    is_float: bool = False
    least: int = 0
    most: int = 0
    items: Shape | None = None
    keys: dict[str, Shape] = field(default_factory=dict)

    def look(self, value: Any, record: int, path: str, level: int = 0) -> None:
        """Take a value in; raises FormatError where no one type can have it too.

        Args:
            value: what it is.
            record: the number of the record that it is in.
            path: to it, from the record.
            level: how many levels it is within already.
        """
        if value is None:
            return
        kind = _SCALARS.get(type(value)) or ("a list" if isinstance(value, list) else "a mapping")
        if self.kind is None:
            self.kind, self.record = kind, record
        elif self.kind != kind:
            raise FormatError(
                f"'{path}' is {kind} in record {record:,} and {self.kind} in record "
                f"{self.record:,}; a column has one type",
                _OTHER_FORMAT, by_value="make it one by 'value', such as to_string(…)",
            )
        level += _LEVELS.get(kind, 0)
        if level > _DEEPEST:
            raise FormatError(
                f"'{path[:40]}…' has more lists and mappings within "
                f"each other in record {record:,} than Parquet can hold",
                _OTHER_FORMAT, by_value=_AS_TEXT,
            )
        if kind == "a number":
            self._look_at_number(value, record, path)
        elif kind == "a list":
            self.items = self.items or Shape()
            for item in value:
                self.items.look(item, record, f"{path}[]", level)
        elif kind == "a mapping":
            for key, item in value.items():
                self.keys.setdefault(str(key), Shape()).look(item, record, f"{path}.{key}", level)

    def _look_at_number(self, value: float, record: int, path: str) -> None:
        if isinstance(value, int):
            self.least, self.most = min(self.least, value), max(self.most, value)
        else:
            self.is_float = True
        if self.is_float and not -_EXACT <= self.least <= self.most <= _EXACT:
            what = "a number with a fraction and an integer that no float holds"
        elif not (self.least >= -_LONG and self.most < (_LONG if self.least else _LONGEST)):
            what = "integers of more than 64 bits"
        else:
            return
        raise FormatError(
            f"'{path}' has {what} (record {record:,})", _OTHER_FORMAT, by_value=_AS_TEXT
        )

    def arrow(self) -> pa.DataType:
        """Its type; text where nothing but null was found."""
        if self.kind == "a number":
            if self.is_float:
                return pa.float64()
            return pa.int64() if self.most < _LONG else pa.uint64()
        if self.kind == "a list":
            return pa.list_((self.items or Shape()).arrow())
        if self.kind == "a mapping" and self.keys:
            return pa.struct([pa.field(key, shape.arrow()) for key, shape in self.keys.items()])
        return pa.bool_() if self.kind == "true or false" else pa.string()

    @property
    def has_empty_mappings(self) -> bool:
        """Whether a mapping without a key is in it, which Parquet has no type for."""
        if self.kind == "a mapping":
            return not self.keys or any(s.has_empty_mappings for s in self.keys.values())
        return self.items is not None and self.items.has_empty_mappings

    def fit(self, value: Any) -> Any:
        """A value as its type takes it."""
        if value is None:
            return None
        if self.kind == "a mapping":
            if not self.keys:
                return "{}"
            return {key: shape.fit(value.get(key)) for key, shape in self.keys.items()}
        if self.kind == "a list" and self.items is not None:
            return [self.items.fit(item) for item in value]
        return float(value) if self.is_float else value


class _File(io.RawIOBase):
    """What pyarrow writes to."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        octets = bytes(data)
        self._write(octets)
        self._size += len(octets)
        return len(octets)


class ParquetWriter(TableWriter):
    """Writes a Parquet file; nested values have nested types."""

    def __init__(self, write: Write, columns: Sequence[str] | None, folder: Path) -> None:
        super().__init__(columns, folder)
        self._write = write
        self._shapes: dict[str, Shape] = {}

    def look(self, record: Mapping[str, Any]) -> None:
        for key, value in record.items():
            self._shapes.setdefault(str(key), Shape()).look(value, self.count, str(key))

    def write_table(self) -> None:
        shapes = {name: self._shapes.get(name, Shape()) for name in self.columns}
        fits = {name for name, s in shapes.items() if s.has_empty_mappings or _has_float(s)}
        fields = {name: shape.arrow() for name, shape in shapes.items()}
        schema = pa.schema(list(fields.items()))
        with pq.ParquetWriter(_File(self._write), schema, compression="zstd") as file:
            for batch in self.batches():
                arrays = []
                for name, shape in shapes.items():
                    values = [record.get(name) for record in batch]
                    if name in fits:
                        values = [shape.fit(value) for value in values]
                    arrays.append(pa.array(values, type=fields[name]))
                file.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _has_float(shape: Shape) -> bool:
    inner = [*shape.keys.values(), *([shape.items] if shape.items else [])]
    return shape.is_float or any(map(_has_float, inner))
