"""What a flow knows of a file: the mapping that is a file output's value (language 20.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

from flowtoy_dagster.datafiles.places import PlaceError, open_source, reason_of

_CHUNK = 1 << 20


class FileFacts(NamedTuple):
    """A file that a step has written.

    Attributes:
        path: an absolute path, or a URL.
        format: `jsonl`, `csv`, `parquet` or `raw`.
        records: how many it has; None where they were not counted.
        bytes: its size.
        sha256: of its content, in hexadecimal digits.
        content_type: its media type.
    """

    path: str
    format: str
    records: int | None
    bytes: int
    sha256: str
    content_type: str

    def as_json(self) -> dict[str, Any]:
        """The value of the output."""
        return self._asdict()


_KEYS = frozenset(FileFacts._fields)


def file_facts(value: Any) -> FileFacts | None:
    """The facts in the value of a file output; None where a value is none."""
    if not isinstance(value, Mapping) or set(value) != _KEYS:
        return None
    texts = all(isinstance(value[k], str) for k in ("path", "format", "sha256", "content_type"))
    counted = value["records"] is None or isinstance(value["records"], int)
    return FileFacts(**value) if texts and counted and isinstance(value["bytes"], int) else None


def open_unchanged(facts: FileFacts) -> BinaryIO:
    """A file that is what it was when it was written, to be read from its start.

    All of it is read for that: a mapping that somebody else has made opens no file whose content
    he does not know.

    Raises:
        PlaceError: it is missing, has changed, or can't be read; says which.
    """
    try:
        file = open_source(facts.path)
    except FileNotFoundError:
        raise PlaceError(f"the file '{facts.path}' is missing") from None
    except PlaceError as error:
        raise PlaceError(f"the file '{facts.path}' can't be read: {error}") from None
    except Exception as error:  # noqa: BLE001 - whatever a file system raises
        raise PlaceError(
            f"the file '{facts.path}' can't be read: {reason_of(error)}"
        ) from None
    try:
        found, size = hashlib.sha256(), 0
        while chunk := file.read(_CHUNK):
            found.update(chunk)
            size += len(chunk)
        if size != facts.bytes:
            change = f"it has {size:,} bytes, and had {facts.bytes:,}"
        elif found.hexdigest() != facts.sha256:
            change = "its sha256 is another"
        else:
            file.seek(0)
            return file
        raise PlaceError(f"the file '{facts.path}' has changed: {change}")
    except BaseException:
        file.close()
        raise


def why_changed(value: Any) -> str | None:
    """Why the value of a file output does not hold any more; None where it does."""
    facts = file_facts(value)
    if facts is None:
        return "its value is no file's"
    try:
        open_unchanged(facts).close()
    except PlaceError as error:
        return str(error)
    return None
