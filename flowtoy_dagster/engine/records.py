"""What a step leaves behind for its dependents and for the one who started the run.

One file a step, of JSON lines, written beside and renamed, so that it is whole or not there:

1. a header: state, error, code, notes, and the size of each output in bytes,
2. the outputs, one object,
3. the result's `data` and `meta`, only where another step's templates name it.

Reading the header reads no values.
"""

import contextlib
import hashlib
import os
import tempfile
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowtoy_dagster.engine.home import make_private
from flowtoy_dagster.json_text import dumps, dumps_checked, loads_checked
from flowtoy_dagster.secrets import Mask, texts_in
from flowtoy_dagster.steps.attempts import StepOutcome

PREVIEW_CHARACTERS = 200
PREVIEW_BYTES = 16 * 1024
_LONGEST_NAME = 120


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


class StepRecord:
    """A step's file, read as far as is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, "rb") as file:
            self.header: dict[str, Any] = loads_checked(file.readline())
        self._lines: dict[int, Any] = {}

    @property
    def state(self) -> str:
        """`succeeded` or `failed`."""
        state: str = self.header["state"]
        return state

    @property
    def error(self) -> str | None:
        """Why it failed."""
        error: str | None = self.header["error"]
        return error

    @property
    def secrets(self) -> list[str]:
        """What the step learned to be secret; the file is for its owner alone."""
        secrets: list[str] = self.header["secrets"]
        return secrets

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
            with open(self.path, "rb") as file:
                for _ in range(number):
                    file.readline()
                line = file.readline()
            self._lines[number] = loads_checked(line) if line.strip() else {}
        found: dict[str, Any] = self._lines[number]
        return found


class RecordStore:
    """The folder in which a Dagster instance keeps the records of all runs."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def path(self, run_id: str, step_key: str) -> Path:
        """Where the record of a step of a run is."""
        name = urllib.parse.quote(step_key, safe=" ")
        if len(name) > _LONGEST_NAME:
            name = hashlib.sha256(step_key.encode()).hexdigest()
        return self.folder / run_id / f"{name}.jsonl"

    def read(self, run_id: str, step_key: str) -> StepRecord | None:
        """The record of a step, or None where it left none."""
        try:
            return StepRecord(self.path(run_id, step_key))
        except FileNotFoundError:
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
            "state": "succeeded" if outcome.succeeded else "failed",
            "error": outcome.error,
            "success": result.success if result else False,
            "code": result.code if result else None,
            "notes": [outcome.mask.text(note) for note in result.notes] if result else [],
            "secrets": _secrets_to_keep(outcome, encoded.values()),
            "sizes": {name: len(value) for name, value in encoded.items()},
        }
        path = self.path(run_id, step_key)
        with _written_beside(path) as file:
            file.write(dumps(header) + b"\n{")
            for index, (name, value) in enumerate(encoded.items()):
                file.write((b"," if index else b"") + dumps_checked(name) + b":")
                file.write(value)
            file.write(b"}\n")
            if keep_result and result is not None:
                file.write(dumps({"data": result.data, "meta": dict(result.meta)}) + b"\n")
        return {
            name: summarize(value, encoded[name], outcome.mask)
            for name, value in outcome.outputs.items()
        }


def _secrets_to_keep(outcome: StepOutcome, encoded: Iterable[bytes]) -> list[str]:
    """What must still be hidden when the outputs are shown where no variable tells of it."""
    found = set(outcome.secrets)
    for text in encoded:
        if outcome.mask.octets(text) != text:
            found |= {v for v in outcome.mask.values if Mask([v]).octets(text) != text}
    return sorted(found)


@contextlib.contextmanager
def _written_beside(path: Path) -> Iterator[Any]:
    make_private(path.parent)
    if path.parent.stat().st_mode & 0o077:
        path.parent.chmod(0o700)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with open(descriptor, "wb") as file:
            yield file
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def summarize(value: Any, encoded: bytes, mask: Mask) -> OutputSummary:
    """What may be shown of a value, given its JSON and what must be hidden of it."""
    kinds = {type(None): "null", bool: "true or false", int: "number", float: "number",
             str: "text", list: "list", tuple: "list"}
    items = len(value) if isinstance(value, (list, tuple, Mapping)) else None
    # More than is shown, so that no secret is cut in two before it is hidden.
    start = encoded[:PREVIEW_BYTES].decode("utf-8", "ignore")
    hidden = mask.text(start)
    preview = hidden[:PREVIEW_CHARACTERS]
    if len(preview) < len(hidden) or len(encoded) > PREVIEW_BYTES:
        preview += "…"
    return OutputSummary(kinds.get(type(value), "object"), len(encoded), items, preview)
