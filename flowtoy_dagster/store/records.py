"""What a step leaves behind for its dependents and for whoever started the run.

One piece a step, of JSON lines, whole or absent:

1. a header: state, error, code, notes, and the size of each output in bytes,
2. the outputs, one object,
3. the result's `data` and `meta`, only where another step's templates name it,
4. the end: how many bytes come before it.

Reading the header reads no values.
"""

from __future__ import annotations

import hashlib
import logging
import os
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from flowtoy_dagster.errors import RunError
from flowtoy_dagster.json_text import dumps, dumps_checked, loads_checked
from flowtoy_dagster.masking.mask import HIDDEN, Mask, texts_in
from flowtoy_dagster.steps.attempts import StepOutcome
from flowtoy_dagster.store.store import Store, open_store

RECORDS_FOLDER = "flowtoy-records"

PREVIEW_CHARACTERS = 200
PREVIEW_BYTES = 16 * 1024
_LONGEST_NAME = 120
_LONGEST_END = 64
_LEAST_LINES = 2
_GIVEN = "params"
_OLD_GIVEN = "params.json"
_CHUNK = 1 << 20
_LOG = logging.getLogger("flowtoy.store")


@dataclass(frozen=True)
class OutputSummary:
    """What may be shown of an output without its value.

    Attributes:
        type: the JSON type (`list`, `object`, `text`, …).
        bytes: its size as JSON.
        items: how many items or keys it has; None for scalars.
        preview: the first part of its JSON.
    """

    type: str
    bytes: int
    items: int | None
    preview: str

    def as_json(self) -> dict[str, Any]:
        """The summary as plain data, without absent parts."""
        facts = {"type": self.type, "items": self.items, "bytes": self.bytes,
                 "preview": self.preview}
        return {key: value for key, value in facts.items() if value is not None}


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
    """

    def __init__(
        self, open_record: Callable[[], BinaryIO], name: str, *, has_end: bool = True
    ) -> None:
        self._open = open_record
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
            reason = (error.strerror or str(error)).lower()
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
        """The names of the outputs that are secret as a whole; records of 0.1.0 tell none."""
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


class RecordStore:
    """The records of all runs of a Dagster instance.

    Args:
        store: where they are.
        old: where flowtoy 0.1.0 kept them; only read.
    """

    def __init__(self, store: Store, old: Store | None = None) -> None:
        self._store = store
        self._old = old
        self._reported: set[str] = set()

    def step(self, run_id: str, step_key: str) -> StepRecord:
        """The record of a step, which nobody has looked at yet; it may be absent or damaged."""
        key = _step_key(run_id, step_key)
        name = f"the record of step '{step_key}' of run {run_id[:8]}"
        if self._old is not None and not self._store.exists(key):
            old, old_key = self._old, _old_key(run_id, step_key)
            if old.exists(old_key):
                return StepRecord(lambda: old.open(old_key), name, has_end=False)
        return StepRecord(lambda: self._store.open(key), name)

    def read(self, run_id: str, step_key: str) -> StepRecord | None:
        """The record of a step.

        Returns:
            None where it left none. A damaged one counts as absent, with a warning.
        """
        record = self.step(run_id, step_key)
        try:
            record.header  # noqa: B018 - reads and checks it
        except MissingRecordError:
            return None
        except RecordError as error:
            key = _step_key(run_id, step_key)
            if key not in self._reported:
                self._reported.add(key)
                _LOG.warning("%s; it counts as absent", error)
            return None
        return record

    def delete(self, run_id: str) -> None:
        """Delete the records of a run and what was given for its secret parameters."""
        self._store.delete(_folder(run_id))
        if self._old is not None:
            for key in list(self._old.list(run_id)):
                if key.endswith((".jsonl", _OLD_GIVEN)):
                    self._old.delete(key)

    def clean(self) -> int:
        """Remove what writers that were killed left behind; how many files that were."""
        return self._store.clean() + (self._old.clean() if self._old is not None else 0)

    def keep_given(self, run_id: str, values: Mapping[str, Any]) -> None:
        """Keep the values that were given for a run's secret parameters.

        Raises:
            OSError: they can't be written.
        """
        self._store.put(f"{_folder(run_id)}/{_GIVEN}", dumps(dict(values)) + b"\n")

    def given(self, run_id: str) -> dict[str, Any] | None:
        """The values that were given for a run's secret parameters.

        Returns:
            None where there are none. Damaged ones count as absent, with a warning.
        """
        places = [(self._store, f"{_folder(run_id)}/{_GIVEN}")]
        if self._old is not None:
            places.append((self._old, f"{run_id}/{_OLD_GIVEN}"))
        for store, key in places:
            try:
                found = loads_checked(store.read(key))
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                _LOG.warning("the secret parameters of run %s can't be read: %s", run_id, error)
                continue
            if isinstance(found, dict):
                return found
        return None

    def write(
        self, run_id: str, step_key: str, outcome: StepOutcome, keep_result: bool
    ) -> dict[str, OutputSummary]:
        """Write a step's record, whole or not at all.

        Returns:
            a summary of each output.

        Raises:
            OSError: the disk is full, or the folder can't be written.
        """
        encoded = {name: dumps_checked(value) for name, value in outcome.outputs.items()}
        result = outcome.result
        header = {
            "state": outcome.state,
            "error": outcome.error if outcome.skipped is None else outcome.skipped,
            "success": result.success if result else False,
            "code": result.code if result else None,
            "notes": [outcome.mask.text(note) for note in result.notes] if result else [],
            "hidden": sorted(outcome.hidden),
            "secrets": _secrets_to_keep(outcome, encoded.values()),
            "sizes": {name: len(value) for name, value in encoded.items()},
        }
        with self._store.writer(_step_key(run_id, step_key)) as file:
            file.write(dumps(header) + b"\n{")
            for index, (name, value) in enumerate(encoded.items()):
                file.write((b"," if index else b"") + dumps_checked(name) + b":")
                file.write(value)
            file.write(b"}\n")
            if keep_result and result is not None:
                file.write(dumps({"data": result.data, "meta": dict(result.meta)}) + b"\n")
            file.write(_end(file.tell()))
        return {
            name: summarize(value, encoded[name], outcome.mask, hidden=name in outcome.hidden)
            for name, value in outcome.outputs.items()
        }


def _secrets_to_keep(outcome: StepOutcome, encoded: Iterable[bytes]) -> list[str]:
    """What must still be hidden when the outputs are shown where no variable tells of it."""
    found = set(outcome.secrets)
    for text in encoded:
        if outcome.mask.octets(text) != text:
            found |= {v for v in outcome.mask.values if Mask([v]).octets(text) != text}
    return sorted(found)


def _folder(run_id: str) -> str:
    return _quoted(run_id)


def _step_key(run_id: str, step_key: str) -> str:
    return f"{_folder(run_id)}/steps/{_quoted(step_key)}"


def _old_key(run_id: str, step_key: str) -> str:
    name = urllib.parse.quote(step_key, safe=" ")
    if len(name) > _LONGEST_NAME:
        name = hashlib.sha256(step_key.encode()).hexdigest()
    return f"{run_id}/{name}.jsonl"


def _quoted(text: str) -> str:
    """A text as a segment of a key.

    It has no full stop: Dagster's web server serves `logs/<folders>/<name>.<kind>` of whatever
    folder a deployment sets for logs, for any kind, and can't reach a file without one.
    """
    name = urllib.parse.quote(text, safe="").replace(".", "%2E").replace("%20", " ")
    if not name or len(name) > _LONGEST_NAME or name.startswith(" "):
        name = hashlib.sha256(text.encode()).hexdigest()
    return name


def _end(size: int) -> bytes:
    return dumps_checked({"end": size}) + b"\n"


def _is_ended(file: BinaryIO) -> bool:
    """Whether the last line of an open record is the end that belongs to its size."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - _LONGEST_END))
    tail = file.read()
    before = tail.rfind(b"\n", 0, len(tail) - 1) + 1
    return before > 0 and tail[before:] == _end(start + before)


def _is_terminated(file: BinaryIO) -> bool:
    """Whether an open record of flowtoy 0.1.0, which has no end, has whole lines."""
    lines = 1
    last = b""
    while chunk := file.read(_CHUNK):
        lines += chunk.count(b"\n")
        last = chunk
    return last.endswith(b"\n") and lines >= _LEAST_LINES


def records_of(storage_directory: str) -> RecordStore:
    """The records that belong to the storage folder of a Dagster instance.

    They are next to that folder, not in it: Dagster's web server serves files of it as logs.
    """
    old = Path(storage_directory)
    return RecordStore(open_store(old.parent / RECORDS_FOLDER), open_store(old))


def summarize(
    value: Any, encoded: bytes, mask: Mask, *, hidden: bool = False
) -> OutputSummary:
    """What may be shown of a value, given its JSON and what must be hidden of it.

    Args:
        value: the value.
        encoded: its JSON.
        mask: hides the secrets that may be in it.
        hidden: whether it is a secret as a whole, of which nothing is shown.
    """
    kinds = {type(None): "null", bool: "true or false", int: "number", float: "number",
             str: "text", list: "list", tuple: "list"}
    items = len(value) if isinstance(value, (list, tuple, Mapping)) else None
    if hidden:
        return OutputSummary(kinds.get(type(value), "object"), len(encoded), None, HIDDEN)
    # Masked before it is cut, so that no part of a secret is left.
    start = encoded[:PREVIEW_BYTES].decode("utf-8", "ignore")
    is_all = len(encoded) <= PREVIEW_BYTES
    shown = mask.text(start) if is_all else mask.head(start + " ", len(start))
    preview = shown[:PREVIEW_CHARACTERS]
    if len(preview) < len(shown) or not is_all:
        preview += "…"
    return OutputSummary(kinds.get(type(value), "object"), len(encoded), items, preview)
