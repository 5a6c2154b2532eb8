"""Files as bodies: read while they are sent, and opened anew whenever a request is sent again."""

from __future__ import annotations

import mimetypes
import os
import re
import stat
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from flowtoy_dagster.datafiles.places import (
    PlaceError,
    open_source,
    reason_of,
    scheme_of,
    size_of,
)
from flowtoy_dagster.errors import system_reason
from flowtoy_dagster.flow.files.suggestions import nearest
from flowtoy_dagster.flow.schema.fields import Misplaced, Strict, Templated, Text
from flowtoy_dagster.providers.rest.content import UnsendableError

_PIECE = 1 << 16
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNKNOWN = "application/octet-stream"


def _one_line(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("must not hold control characters")
    return value


Path = Annotated[Text, Field(min_length=1)]
MediaType = Annotated[Text, Field(min_length=1), AfterValidator(_one_line)]


class Upload(Strict):
    """A file of a form."""

    path: Templated[Path]
    name: Templated[Text] | None = None
    content_type: Templated[MediaType] | None = None


class FileBody(Strict):
    """A file that is the body.

    Attributes:
        file: the path of the file.
        content_type: the type of its content.
    """

    file: Templated[Path]
    content_type: Templated[MediaType] | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_a_file(cls, value: Any) -> Any:
        keys = list(value) if isinstance(value, Mapping) else []
        meant = any(nearest(str(key), ("file", "content_type")).question for key in keys)
        if "file" not in keys and not meant:
            hint = "write 'json' for data, 'data' for text, 'form' for a form, 'body: {file: path}'"
            raise Misplaced("'body' takes a file, and nothing else", (), hint, at_key=False)
        return value


def _uploads(value: Any) -> Any:
    items = value if isinstance(value, (list, tuple)) else [value]
    return [{"path": item} if isinstance(item, str) else item for item in items]


Uploads = Annotated[tuple[Upload, ...], BeforeValidator(_uploads)]
"""One file or several; the path alone will do."""


@dataclass(frozen=True)
class FilePart:
    """A file that is a part of a body.

    Attributes:
        key: where the configuration names it, for errors.
        size: bytes, when the request was made.
    """

    key: str
    path: str
    size: int

    def pieces(self) -> Iterator[bytes]:
        """Its bytes; raises UnsendableError where it is not as it was."""
        left = self.size
        try:
            with _opened(self.path) as file:
                has_changed = os.fstat(file.fileno()).st_size != self.size
                while not has_changed and left and (piece := file.read(min(_PIECE, left))):
                    left -= len(piece)
                    yield piece
        except OSError as error:
            raise unreadable(self.key, self.path, error, sent=True) from None
        if has_changed or left:
            message = f"'{self.key}': the file '{self.path}' has changed while it was sent"
            raise UnsendableError(message, sent=True)


@dataclass(frozen=True)
class StreamedBody:
    """A body whose files are read while it is sent."""

    parts: Sequence[bytes | FilePart]

    def stream(self) -> BodyStream:
        """It from its beginning."""
        return BodyStream(self.parts)


class BodyStream:
    """A body as requests sends it, with its length."""

    def __init__(self, parts: Sequence[bytes | FilePart]) -> None:
        self._parts = parts
        self.len = sum(p.size if isinstance(p, FilePart) else len(p) for p in parts)
        self._pieces = self._all()
        self._rest = b""

    def _all(self) -> Iterator[bytes]:
        for part in self._parts:
            yield from part.pieces() if isinstance(part, FilePart) else [part]

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def read(self, size: int = -1) -> bytes:
        """The next bytes; none at the end."""
        if not self._rest:
            self._rest = next((piece for piece in self._pieces if piece), b"")
        if size is None or size < 0:
            found, self._rest = b"".join([self._rest, *self._pieces]), b""
        else:
            found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def rewind(self) -> None:
        """Begin again, with the files opened anew."""
        self._pieces, self._rest = self._all(), b""


def unreadable(key: str, path: str, error: OSError, *, sent: bool = False) -> UnsendableError:
    """The error of a file that can't be read."""
    reason = system_reason(error)
    if isinstance(error, FileNotFoundError):
        return UnsendableError(f"'{key}': there is no file '{path}'", sent=sent)
    return UnsendableError(f"'{key}': the file '{path}' can't be read: {reason}", sent=sent)


def _part(key: str, path: str) -> FilePart:
    if scheme_of(path) is not None:
        return _part_elsewhere(key, path)
    try:
        facts = os.stat(path)
    except ValueError:  # a null character
        raise UnsendableError(f"'{key}' is not a path") from None
    except OSError as error:
        raise unreadable(key, path, error) from None
    if not stat.S_ISREG(facts.st_mode):
        raise UnsendableError(f"'{key}': '{path}' is not a regular file")
    try:
        # An error before anything is sent is better than one in the middle.
        os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        raise unreadable(key, path, error) from None
    return FilePart(key, path, facts.st_size)


def _part_elsewhere(key: str, url: str) -> FilePart:
    """A file at a URL that fsspec knows, such as a file output in an object store."""
    try:
        return FilePart(key, url, size_of(url))
    except PlaceError as error:
        raise UnsendableError(f"'{key}': the file '{url}' can't be read: {error}") from None
    except OSError as error:
        raise unreadable(key, url, error) from None


def _opened(path: str) -> BinaryIO:
    """A file to be read; raises OSError."""
    if scheme_of(path) is None:
        return open(path, "rb")
    try:
        return open_source(path)
    except PlaceError as error:
        raise OSError(str(error)) from None
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - file systems raise many kinds
        raise OSError(reason_of(error)) from None


def file_body(given: FileBody) -> tuple[StreamedBody, str]:
    """A file as a body, and its type; raises UnsendableError."""
    body = StreamedBody((_part("body.file", given.file),))
    return body, given.content_type or mimetypes.guess_type(given.file)[0] or _UNKNOWN


def multipart(
    fields: Sequence[tuple[str, str]], files: Mapping[str, Sequence[Upload]]
) -> tuple[StreamedBody, str]:
    """A form with files (RFC 7578), and its type.

    Args:
        fields: the names and values of other fields.
        files: the files by the names of their fields.

    Raises:
        UnsendableError: a file can't be read.
    """
    boundary = uuid.uuid4().hex
    parts: list[bytes | FilePart] = []
    for name, value in fields:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n'
        parts.append(f"{head}{value}\r\n".encode())
    for name, uploads in files.items():
        for number, upload in enumerate(uploads):
            key = f"files.{name}" + (f"[{number}]" if len(uploads) > 1 else "")
            shown = upload.name or os.path.basename(upload.path)
            kind = upload.content_type or mimetypes.guess_type(shown)[0] or _UNKNOWN
            head = (
                f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"; '
                f'filename="{_quoted(shown)}"\r\nContent-Type: {kind}\r\n\r\n'
            )
            parts += [head.encode(), _part(key, upload.path), b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return StreamedBody(parts), f"multipart/form-data; boundary={boundary}"


def _quoted(name: str) -> str:
    """A name within quotes, as browsers write it."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
