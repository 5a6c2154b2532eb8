"""What a template's expressions give, as text and as plain data (language 6.2)."""

from __future__ import annotations

import contextlib
import gc
import json
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jinja2
import orjson

from flowtoy_dagster.errors import TemplateError

_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_MUCH = 1 << 20
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME


def text(value: Any) -> str:
    """A value as a template prints it: text as it is, null as nothing, else JSON."""
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, jinja2.Undefined):
        return str(value)
    return to_json(value)


def to_json(value: Any) -> str:
    """A value as compact JSON.

    Raises:
        TemplateError: JSON can't hold it (a function, for example).
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise TemplateError(f"JSON can't hold the number {value}")
    try:
        return orjson.dumps(value, default=_json_default, option=_OPTIONS).decode()
    except TypeError as error:
        if isinstance(error.__cause__, jinja2.UndefinedError):
            raise error.__cause__ from None
        # orjson holds 64 bits and no lone surrogates; Python's own encoder any integer and text.
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError):
            raise _not_a_value(value, error) from None


def parse_json(written: bytes | str) -> Any:
    """The value in a JSON text, whatever the length of its integers.

    Raises:
        ValueError: it is not JSON, or holds what is no text (lone surrogates).
    """
    data = written.encode() if isinstance(written, str) else written
    with _uncollected(len(data)):
        return _parse(data)


@contextlib.contextmanager
def _uncollected(size: int) -> Iterator[None]:
    """No garbage collection while much data is made, none of which can be garbage."""
    pausing = size > _MUCH and gc.isenabled()
    if pausing:
        gc.disable()
    try:
        yield
    finally:
        if pausing:
            gc.enable()


def _parse(data: bytes) -> Any:
    digits = data.translate(_DIGITS_AS_ZEROS)
    if b"0" * 19 not in digits:
        return orjson.loads(data)
    # orjson rounds an integer that 64 bits can't hold.
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
        to_json(value).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _not_a_value(value: Any, why: object) -> TemplateError:
    return TemplateError(f"a value of type '{type(value).__name__}' can't be rendered: {why}")


def _json_default(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, jinja2.Undefined):
        str(value)
    if _is_list_like(value):
        return list(value)
    raise TypeError(f"'{type(value).__name__}' is not a value")


def _is_list_like(value: Any) -> bool:
    listed = isinstance(value, (Collection, Iterator))
    return listed and not isinstance(value, (str, bytes, bytearray, memoryview))


def native(value: Any) -> Any:
    """The value of an expression as plain data; missing values are errors."""
    if value is None or type(value) in (bool, int, float, str, dict, list):
        return value
    return plain(value)


def plain(value: Any) -> Any:
    """A value made of mappings, lists and scalars alone, however it was put together.

    Raises:
        TemplateError: something within it is no value.
        jinja2.UndefinedError: something within it is missing.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, jinja2.Undefined):
        return str(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if _is_list_like(value):
        return [plain(item) for item in value]
    raise _not_a_value(value, "it is not data")


def _key(key: Any) -> str:
    return str(key) if isinstance(key, str) else to_json(key)
