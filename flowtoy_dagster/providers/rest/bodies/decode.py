"""`decode`: what is made of an answer's body, whatever its type says."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator

from flowtoy_dagster.json_text import JsonError, in_line, loads
from flowtoy_dagster.providers.rest.content import Answer
from flowtoy_dagster.providers.rest.network.compression import CodingError, decoded

Coding = Literal["gunzip", "csv", "jsonl", "json"]
_MOST = 3
_NO_BODY = (204, 205, 304)
_MAGIC = b"\x1f\x8b"
_LONGEST_FIELD = 256 * 1024 * 1024


class BodyError(Exception):
    """A body is not what `decode` says; names the place."""


def _codings(value: Any) -> Any:
    codings = [value] if isinstance(value, str) else value
    if not isinstance(codings, (list, tuple)) or not codings:
        raise ValueError(f"expected a list of {', '.join(get_args(Coding))}")
    if any(coding != "gunzip" for coding in codings[:-1]):
        raise ValueError("'gunzip' comes before one of 'csv', 'jsonl' and 'json', or alone")
    if len(codings) > _MOST:
        raise ValueError(f"expected at most {_MOST}")
    return codings


Codings = Annotated[tuple[Coding, ...], BeforeValidator(_codings)]
"""What is undone, in this order."""


def unpacked(answer: Answer, codings: tuple[str, ...], max_bytes: int) -> Answer:
    """An answer with its body unpacked as often as `gunzip` says.

    Raises:
        BodyError: it is not compressed, damaged, cut or too large.
    """
    if answer.status in _NO_BODY and not answer.body:
        return answer
    for coding in codings:
        if coding == "gunzip":
            answer = replace(answer, body=_gunzip(answer, max_bytes))
    return answer


def _gunzip(answer: Answer, max_bytes: int) -> bytearray:
    if not answer.body:
        raise BodyError("the answer is empty: 'gunzip' has nothing to unpack")
    if bytes(answer.body[:2]) != _MAGIC:
        hint = ""
        if any(name.lower() == "content-encoding" for name in answer.headers):
            hint = ": its Content-Encoding was undone already, so leave out 'gunzip'"
        raise BodyError(f"the answer is not compressed with gzip{hint}")
    found = bytearray()
    try:
        for piece in decoded([bytes(answer.body)], "gzip"):
            found += piece
            if len(found) > max_bytes:
                raise BodyError(f"the answer is larger than max_response_bytes ({max_bytes})")
    except CodingError as error:
        raise BodyError(f"'gunzip': {error}") from None
    return found


def parsed(answer: Answer, coding: str) -> Any:
    """The data in a body: `json`, a list of values for `jsonl`, a list of mappings for `csv`.

    Raises:
        BodyError: it has a line that is not what it should be.
    """
    if coding == "json":
        try:
            return loads(answer.exact()) if answer.body.strip() else None
        except JsonError as error:
            raise BodyError(f"the answer is not JSON: {error}") from None
    text = _text(answer)
    return list(_json_lines(text) if coding == "jsonl" else _csv_rows(text))


def _text(answer: Answer) -> str:
    try:
        return answer.body.decode(answer.charset).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = answer.body.count(b"\n", 0, error.start) + 1
        raise BodyError(f"line {line} of the answer is not valid {answer.charset}") from None
    except (LookupError, ValueError):
        message = f"the answer is not text in the charset '{answer.charset}'"
        raise BodyError(message) from None


def _json_lines(text: str) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield loads(line)
            except JsonError as error:
                told = f"line {number} of the answer is not JSON: {in_line(error)}"
                raise BodyError(told) from None


def _csv_rows(text: str) -> Iterator[dict[str, str]]:
    # One limit for the process; nothing relies on a smaller one.
    if csv.field_size_limit() < _LONGEST_FIELD:
        csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] = []
    begins = 1
    try:
        for row in reader:
            if row and not names:
                names = _header(row, begins)
            elif row:
                if len(row) != len(names):
                    message = f"has {len(row)} fields, and the header has {len(names)}"
                    raise BodyError(f"line {begins} of the answer {message}")
                yield dict(zip(names, row, strict=True))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise BodyError(f"line {begins} of the answer is not valid CSV: {error}") from None


def _header(row: list[str], line: int) -> list[str]:
    for number, name in enumerate(row, 1):
        if not name.strip():
            raise BodyError(f"line {line} of the answer: column {number} of the header has no name")
        if name in row[: number - 1]:
            raise BodyError(f"line {line} of the answer: the header has '{name}' twice")
    return row
