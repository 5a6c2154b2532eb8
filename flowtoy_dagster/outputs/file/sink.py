"""What writes a file while its step runs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

from flowtoy_dagster.datafiles.facts import FileFacts
from flowtoy_dagster.datafiles.formats import (
    CONTENT_TYPES,
    SUFFIXES,
    writer_of,
)
from flowtoy_dagster.datafiles.places import (
    PlaceError,
    Target,
    local_path,
    missing_package,
    open_target,
    reason_of,
    unreplaced_home,
)
from flowtoy_dagster.datafiles.writing import FormatError, RecordWriter
from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.templates.jinja import search
from flowtoy_dagster.outputs.sink import Sink, SinkTask
from flowtoy_dagster.providers.base import Headers
from flowtoy_dagster.providers.kind import ResultView

_LONGEST_NAME = 120


class FileSink(Sink):
    """A file that is opened when the first of it comes.

    Args:
        task: what it is to become.
        path: where it is to be; None for the run's own folder.
        format_: its format.
        columns: as `columns` has them.
    """

    def __init__(
        self, task: SinkTask, path: str | None, format_: str, columns: Sequence[str] | None
    ) -> None:
        self.task = task
        self.format = format_
        self.columns = columns
        self._path = path
        self._hash = hashlib.sha256()
        self._size = 0
        self._target: Target | None = None
        self._place = ""
        with self.reasons():
            self.open()

    def open(self) -> None:
        """Open the file, so that nothing is called where it can't be written."""
        self._place = self._absolute() if self._path is not None else self._own_place()
        self.task.claim(os.path.realpath(self._place) if local_path(self._place) else self._place)
        self._target = open_target(self._place, private=self._path is None)

    def own_name(self) -> str:
        """What the file is called in the run's own folder."""
        return f"{file_name(self.task.name)}{SUFFIXES[self.format]}"

    def _own_place(self) -> str:
        url = self.task.kept_at
        return f"{url}/{self.own_name()}" if url else str(self.task.folder() / self.own_name())

    def _absolute(self) -> str:
        assert self._path is not None
        unreplaced = unreplaced_home(self._path)
        if unreplaced is not None:
            raise PlaceError(": ".join(unreplaced))
        self._path = self.task.redirect(self._path)
        local = local_path(self._path)
        return self._path if local is None else str(local)

    @contextlib.contextmanager
    def reasons(self) -> Iterator[None]:
        """Make a StepError of what goes wrong with the file while the block runs."""
        name = self.task.name
        try:
            yield
        except StepError:
            raise
        except FormatError as error:
            told = error.told(selects=not self.task.names_files)
            raise StepError(f"output '{name}': {told}") from None
        except PlaceError as error:
            raise StepError(f"output '{name}': the file can't be written: {error}") from None
        except Exception as error:  # noqa: BLE001 - whatever a file system raises
            raise StepError(
                f"output '{name}': the file '{self._place}' can't be written: {reason_of(error)}",
                "raised",
            ) from None

    def write(self, data: bytes) -> None:
        """Write more of the file."""
        assert self._target is not None
        self._hash.update(data)
        self._size += len(data)
        self._target.write(data)

    def facts(self, records: int | None, content_type: str) -> dict[str, Any]:
        """The value of the output, when all of it is written and durable."""
        assert self._target is not None
        self._target.finish()
        digest = self._hash.hexdigest()
        return FileFacts(
            self._place, self.format, records, self._size, digest, content_type
        ).as_json()

    def commit(self) -> None:
        assert self._target is not None
        with self.reasons():
            self._target.commit()
        self._target = None

    def discard(self) -> None:
        target, self._target = self._target, None
        if target is not None:
            target.discard()


class RecordSink(FileSink):
    """Writes records in a format."""

    _writer: RecordWriter | None = None

    def open(self) -> None:
        missing = (
            missing_package("files of the format 'parquet'", "pyarrow", "parquet")
            if self.format == "parquet"
            else None
        )
        if missing is not None:
            raise PlaceError("; ".join(part for part in missing if part))
        super().open()
        try:
            self._writer = writer_of(self.format, self.write, self.columns, self.task.folder())
        except BaseException:
            self.discard()
            raise

    def take(self, records: list[Any]) -> None:
        with self.reasons():
            self._taken(self._selected(records))

    def _taken(self, records: list[Any]) -> None:
        assert self._writer is not None
        self._writer.take(records)

    def _selected(self, data: Any) -> list[Any]:
        """The records of a page, or of data that is not a list of records by itself."""
        expression = self.task.value
        if expression is not None:
            try:
                found = search(expression, data)
            except TemplateError as error:
                raise StepError(f"output '{self.task.name}': {error.message}") from None
            if isinstance(found, list):
                return found
            raise FormatError(
                f"'value' ({expression}) must find a list of records, and found {show(found)}"
            )
        if isinstance(data, list):
            return data
        reason = "what the step gives is not a list of records"
        if isinstance(data, str):
            raise FormatError(reason, "'format: raw' takes it as it is")
        hint = "'value' says where they are" if isinstance(data, dict) else None
        raise FormatError(reason, by_value=hint)

    def finish(self, result: ResultView, is_read: bool) -> Any:
        with self.reasons():
            # A command that printed no JSON has text, which expressions do not see.
            data = result.json if result.content is None else result.content
            if not is_read and data not in (None, ""):
                self._taken(self._selected(data))
            assert self._writer is not None
            self._writer.finish()
            self._writer.close()
            return self.facts(self._writer.count, CONTENT_TYPES[self.format])

    def discard(self) -> None:
        if self._writer is not None:
            self._writer.close()
        super().discard()


class BodySink(FileSink):
    """Writes the body of an answer as it is."""

    takes_body = True
    _is_read = False

    def take(self, records: list[Any]) -> None:
        if not self._is_read:
            raise StepError(
                f"output '{self.task.name}': the format 'raw' is one body as it is, and the step "
                "reads records; write 'format: jsonl'"
            )

    def take_body(self, piece: bytes) -> None:
        with self.reasons():
            self._is_read = True
            self.write(piece)

    def finish(self, result: ResultView, is_read: bool) -> Any:
        with self.reasons():
            if not self._is_read:
                self.write(_octets(result.result.data))
            headers = Headers(result.result.meta.get("headers") or {})
            content_type = str(headers.get("content-type") or CONTENT_TYPES[self.format])
            return self.facts(None, content_type)


def _octets(data: Any) -> bytes:
    if data is None:
        return b""
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, (bytes, bytearray)):
        return bytes(data)
    raise FormatError("the step gives data and no body; 'format: jsonl' writes records")


def file_name(text: str) -> str:
    """A text as the name of a file, or the beginning of one."""
    name = urllib.parse.quote(text, safe=" ").replace(".", "%2E")
    if not name or len(name) > _LONGEST_NAME or name.startswith(" "):
        name = hashlib.sha256(text.encode()).hexdigest()
    return name


