"""What the rest provider sends for a payload, and the data in what a server answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from flowtoy_dagster.flow.templating import text, to_json

_SHOWN_BODY = 200
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")


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
