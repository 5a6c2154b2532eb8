"""What a step leaves behind for its dependents and for the reader of the run.

One piece a step, of JSON lines, whole or absent:

1. a header: state, error, code, notes, and the size of each output in bytes; of a repeated step
   also how many items have ended how, of one with a cursor what it used and read of that,
2. the outputs, one object,
3. the result's `data` and `meta`, only where another step's templates name it,
4. the end: how many bytes come before it.

Reading the header reads no values. The results of a repeated step's items are a piece of their own
(`item_log`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, BinaryIO

from flowtoy_dagster.errors import RunError, system_reason
from flowtoy_dagster.json_text import dumps_checked, loads_checked
from flowtoy_dagster.masking.mask import texts_in
from flowtoy_dagster.steps.state.cursors import CursorUse
from flowtoy_dagster.steps.state.items import ItemResult
from flowtoy_dagster.store.item_log import StoredItems

_LONGEST_END = 64
_LEAST_LINES = 2
_CHUNK = 1 << 20


class RecordError(RunError):
    """A record is absent or damaged."""


class MissingRecordError(RecordError):
    """There is no record."""


class StepRecord:
    """A step's record, read as far as is asked for.

    Args:
        open_record: opens it.
        name: what messages call it.
        has_end: whether its last line is its end, as in all but those of flowtoy 0.1.0.
        stored_items: the results of its items, where it is repeated.
    """

    def __init__(
        self,
        open_record: Callable[[], BinaryIO],
        name: str,
        *,
        has_end: bool = True,
        stored_items: StoredItems | None = None,
    ) -> None:
        self._open = open_record
        self._stored_items = stored_items
        self._name = name
        self._has_end = has_end
        self._lines: dict[int, Any] = {}

    @cached_property
    def header(self) -> dict[str, Any]:
        """The first line.

        Raises:
            RecordError: the record is absent, not whole, or can't be read.
        """
        try:
            with self._open() as file:
                line = file.readline()
                if not (_is_ended(file) if self._has_end else _is_terminated(file)):
                    raise RecordError(f"{self._name} is damaged: its end is missing")
            header = loads_checked(line)
            header["state"], header["error"], header["secrets"], header["sizes"]
        except FileNotFoundError:
            raise MissingRecordError(f"{self._name} is gone") from None
        except OSError as error:
            reason = system_reason(error)
            raise RecordError(f"{self._name} can't be read: {reason}") from None
        except (ValueError, KeyError, TypeError):
            raise RecordError(f"{self._name} is damaged: it has no header") from None
        found: dict[str, Any] = header
        return found

    def outputs_text(self) -> Iterator[bytes]:
        """The outputs as JSON text, in parts that are not read into values."""
        with self._open() as file:
            file.readline()
            while chunk := file.readline(_CHUNK):
                yield chunk.rstrip(b"\n")
                if chunk.endswith(b"\n"):
                    return

    @property
    def state(self) -> str:
        """`succeeded`, `failed` or `skipped`."""
        state: str = self.header["state"]
        return state

    @property
    def error(self) -> str | None:
        """Why it failed or was skipped."""
        error: str | None = self.header["error"]
        return error

    @property
    def secrets(self) -> list[str]:
        """What the step learned to be secret; the file is for its owner alone."""
        secrets: list[str] = self.header["secrets"]
        return secrets

    @property
    def hidden(self) -> frozenset[str]:
        """The names of the outputs that are secret as a whole; records of 0.1.0 have none."""
        return frozenset(self.header.get("hidden") or ())

    def secrets_with(self, marked: Iterable[str]) -> set[str]:
        """What the step learned, and the values of its outputs that are `marked` secret."""
        found = set(self.secrets)
        if self.state == "succeeded":
            for name in marked:
                found |= set(texts_in(self.outputs[name]))
        return found

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs by name."""
        return self._line(1)

    @property
    def result(self) -> dict[str, Any]:
        """The provider's result; `data` and `meta` only where they were kept."""
        own = {key: self.header[key] for key in ("success", "code", "notes")}
        return {**own, **self._line(2)}

    @property
    def counts(self) -> dict[str, int] | None:
        """How many of its items have ended how; None where it is not repeated."""
        counts: dict[str, int] | None = self.header.get("counts")
        return counts

    @property
    def cursor(self) -> CursorUse | None:
        """What it used and read of its cursor; None where it has none."""
        facts = self.header.get("cursor")
        return CursorUse.of(facts) if facts is not None else None

    @property
    def items(self) -> list[dict[str, Any]]:
        """What became of each item; empty where it is not repeated.

        Raises:
            RecordError: the results are gone, or not all there.
        """
        return [result.fact() for result in self.item_results()]

    def item_results(self) -> Iterator[ItemResult]:
        """The results of its items, one after another.

        Raises:
            RecordError: the results are gone, or not all there.
        """
        counts = self.counts
        if counts is None or self._stored_items is None:
            return
        found = 0
        try:
            for result in self._stored_items.results():
                found += 1
                yield result
        except OSError as error:
            reason = system_reason(error)
            raise RecordError(f"{self._name}: its items can't be read: {reason}") from None
        if found != sum(counts.values()) - counts["total"]:
            raise RecordError(f"{self._name} is damaged: {found} of its items are there")

    def _line(self, number: int) -> dict[str, Any]:
        if number not in self._lines:
            with self._open() as file:
                lines = [file.readline() for _ in range(number + 2)]
            is_end = self._has_end and not lines[number + 1]
            line = b"" if is_end else lines[number].strip()
            try:
                self._lines[number] = loads_checked(line) if line else {}
            except ValueError:
                raise RecordError(
                    f"{self._name} is damaged: line {number + 1} is not JSON"
                ) from None
        found: dict[str, Any] = self._lines[number]
        return found


def end_of_record(size: int) -> bytes:
    """The last line of a record, which has `size` bytes before it."""
    return dumps_checked({"end": size}) + b"\n"


def _is_ended(file: BinaryIO) -> bool:
    """Whether the last line of an open record is the end that belongs to its size."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - _LONGEST_END))
    tail = file.read()
    before = tail.rfind(b"\n", 0, len(tail) - 1) + 1
    return before > 0 and tail[before:] == end_of_record(start + before)


def _is_terminated(file: BinaryIO) -> bool:
    """Whether an open record of flowtoy 0.1.0, which has no end, has whole lines."""
    lines = 1
    last = b""
    while chunk := file.read(_CHUNK):
        lines += chunk.count(b"\n")
        last = chunk
    return last.endswith(b"\n") and lines >= _LEAST_LINES
