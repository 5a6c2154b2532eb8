"""What a rest call sends and what comes back: payloads, answers, the data in them."""

from __future__ import annotations

import email.message
import functools
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from flowtoy_dagster.flow.templating import text, to_json

_SHOWN_BODY = 200
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")


@dataclass(frozen=True)
class Call:
    """One HTTP call.

    Attributes:
        label: the URL as a note may show it.
        params: pairs to add to the query.
        authorization: the header's value; the URL's own user and password where it is None.
        timeout: seconds for all of it, from looking up the name to the last byte.
        verify: whether to check certificates, or the file of those to trust.
        cert: the client's certificate, or that and its key.
        max_bytes: the most that the body may have, after decompression.
    """

    method: str
    url: str
    label: str
    params: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes | None
    authorization: str | None
    timeout: float
    verify: bool | str
    cert: str | tuple[str, str] | None
    allow_redirects: bool
    max_bytes: int


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Attributes:
        url: where the answer came from, after redirects.
        elapsed: seconds.
    """

    status: int
    headers: dict[str, str]
    url: str
    elapsed: float
    body: bytes | bytearray

    @functools.cached_property
    def _content(self) -> email.message.Message:
        message = email.message.Message()
        found = (v for k, v in self.headers.items() if k.lower() == "content-type")
        message["Content-Type"] = next(found, "application/octet-stream")
        return message

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case."""
        return self._content.get_content_type()

    @property
    def text(self) -> str:
        """The body as the header's charset or UTF-8; what is not that, replaced."""
        with suppress(LookupError, ValueError):
            return self.body.decode(self._content.get_content_charset("utf-8"), "replace")
        return self.body.decode("utf-8", "replace")


def payload_pairs(payload: Any, name: str) -> list[tuple[str, str]]:
    """A payload as pairs of a query: a mapping's own names, or `name` for anything else."""
    if isinstance(payload, Mapping):
        return [(str(key), text(value)) for key, value in payload.items() if value is not None]
    values = payload if isinstance(payload, list) else [payload]
    return [(name, text(value)) for value in values if value is not None]


def payload_body(payload: Any) -> bytes:
    """A payload as a JSON body; text that is a JSON object or array is one already."""
    if isinstance(payload, str) and payload.lstrip()[:1] in ("{", "["):
        try:
            orjson.loads(payload)
            return payload.encode()
        except ValueError:
            pass
    return to_json(payload).encode()


def answer_data(media_type: str, body: str) -> Any:
    """The JSON of a body that is, or looks like, JSON; otherwise its text.

    Raises:
        ValueError: it is said to be JSON, but is not.
        RecursionError: it is nested too deep.
    """
    if media_type == "application/json" or media_type.endswith("+json"):
        return _parse(body) if body.strip() else None
    if body.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        try:
            return _parse(body)
        except (ValueError, RecursionError):
            return body
    return body


def _parse(body: str) -> Any:
    written = body.removeprefix("\ufeff").encode()
    lengths = written.translate(_DIGITS_AS_ZEROS)
    if b"0" * 20 in lengths or b"-" + b"0" * 19 in lengths:
        # orjson would round an integer that 64 bits can't hold.
        return json.loads(written, parse_constant=_refuse_constant)
    return orjson.loads(written)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def json_error(error: Exception) -> str:
    """What is wrong with JSON, and where."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno} column {error.colno}"
    return str(error)


def status_note(status: int, body: str) -> str:
    """The note on a status that is not a success, with the first part of the body in one line."""
    # A few more than are shown, as white space shrinks.
    line = " ".join(body[: _SHOWN_BODY * 10].split())
    shown = "".join(c if c.isprintable() else "\ufffd" for c in line[:_SHOWN_BODY])
    return f"HTTP status {status}" + (f": {shown}" if shown else "")
