"""JSON as flowtoy reads and writes it: exact, or an error.

The rules are the same wherever JSON passes (answers, output of commands, payloads, request bodies,
parameters, records):

- integers keep all their digits, whatever their size;
- NaN, Infinity and numbers that no float holds (`1e999`) are errors, never null;
- text is Unicode: bytes that are not UTF-8 and lone surrogates are errors;
- at most `MAX_DEPTH` levels, so that code that walks a value has enough stack;
- two keys of a mapping never become one when it is written.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

MAX_DEPTH = 200
"""Levels of lists and mappings in a JSON text."""

_BOM = b"\xef\xbb\xbf"
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_NOT_BRACKETS = bytes(code for code in range(256) if code not in b'[]{}"')
_BRACES_AS_BRACKETS = bytes.maketrans(b"{}", b"[]")
_STRINGS = re.compile(rb'"[^"]*"')
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
_MUCH = 1 << 20
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


class JsonError(ValueError):
    """A text is not JSON, or JSON can't hold a value.

    Attributes:
        why: the reason, without a place.
        path: where in the value (`rows[2].ratio`); empty for the value itself, and for texts.
    """

    def __init__(self, why: str, path: str = "") -> None:
        self.why = why
        self.path = path
        super().__init__(f"{why} (at {path})" if path else why)


def in_line(error: JsonError) -> str:
    """What is wrong with a text that is one line of many, of which the number is told already."""
    return str(error).replace("line 1 column", "character")


def loads(written: bytes | bytearray | str, *, unique_keys: bool = False) -> Any:
    """The value in a JSON text.

    Args:
        written: the text; bytes are UTF-8, a byte order mark is skipped.
        unique_keys: the same key twice in a mapping is an error; else the last one counts.

    Raises:
        JsonError: it is not JSON, or goes beyond what the rules above allow.
    """
    data = _utf8(written) if isinstance(written, str) else bytes(written)
    data = data.removeprefix(_BOM)
    with _uncollected(len(data)):
        value = _read_exactly(data, unique_keys) if unique_keys else _read(data)
    if len(data) > MAX_DEPTH and _is_too_deep(data):
        raise JsonError(_TOO_DEEP)
    return value


def loads_checked(written: bytes | bytearray) -> Any:
    """The value in a text that `dumps` wrote, or `dumps_checked`; however deep it stands in it."""
    with _uncollected(len(written)):
        return _read(bytes(written))


def dumps(value: Any) -> bytes:
    """A value as compact JSON on one line.

    Raises:
        JsonError: JSON can't hold it; names the path in it.
    """
    try:
        written = orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        # orjson holds 64 bits and 254 levels, and wants keys that are texts.
        return _write_exactly(value)
    # orjson writes null for NaN.
    return _write_exactly(value) if b"null" in written and _has_odd_number(value) else written


def dumps_checked(value: Any) -> bytes:
    """The same for a value that `dumps` or `loads` has accepted before; faster."""
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        return _write_exactly(value)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise JsonError("it holds a character that is not valid Unicode") from None


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


def _read(data: bytes) -> Any:
    digits = data.translate(_DIGITS_AS_ZEROS)
    # orjson rounds an integer that 64 bits can't hold.
    if b"0" * 20 in digits or b"-" + b"0" * 19 in digits:
        return _read_exactly(data, False)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _not_json(data, error) from None


def _read_exactly(data: bytes, unique_keys: bool) -> Any:
    """What Python's own parser reads, without what it allows beyond JSON."""
    try:
        value = json.loads(
            data.decode(),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_unique if unique_keys else None,
        )
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode()
    except JsonError:
        raise
    except RecursionError:
        raise JsonError(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise _not_json(data, error) from None
    except UnicodeDecodeError:
        raise _not_json(data, None) from None
    except UnicodeEncodeError:
        raise JsonError("it holds a text that is not valid Unicode (a lone surrogate)") from None
    except ValueError:
        raise JsonError("it holds an integer with too many digits") from None
    return value


def _not_json(data: bytes, error: json.JSONDecodeError | None) -> JsonError:
    try:
        data.decode()
    except UnicodeDecodeError as wrong:
        place = f"byte 0x{data[wrong.start]:02x} at position {wrong.start}"
        return JsonError(f"it is not UTF-8 text ({place})")
    assert error is not None
    if "depth limit" in error.msg:
        return JsonError(_TOO_DEEP)
    return JsonError(f"{error.msg} at line {error.lineno} column {error.colno}")


def _refuse_constant(name: str) -> Any:
    raise JsonError(f"{name} is not a JSON value")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise JsonError(f"{digits if len(digits) < 30 else 'a number'} is too large")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise JsonError(f"the key '{twice}' is given twice")
    return found


def _is_too_deep(data: bytes) -> bool:
    """Whether valid JSON has too many levels; looks at its brackets alone."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = _STRINGS.sub(b"", data.translate(None, _NOT_BRACKETS).replace(b'""', b""))
    brackets = brackets.translate(_BRACES_AS_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        # One level less: the innermost ones are gone.
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _has_odd_number(value: Any) -> bool:
    """Whether a value that orjson could write holds NaN or an infinity."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, (list, tuple)):
            waiting.extend(one)
        elif isinstance(one, float) and not math.isfinite(one):
            return True
    return False


def _write_exactly(value: Any) -> bytes:
    try:
        held = _held(value, "", frozenset())
        return json.dumps(held, ensure_ascii=False, separators=(",", ":")).encode()
    except RecursionError:
        raise JsonError("it is nested too deeply") from None


_DEEPEST_WRITTEN = MAX_DEPTH + 50
"""Levels that can be written: what was read may stand within a few mappings more."""


def _held(value: Any, path: str, above: frozenset[int]) -> Any:
    """The value with texts for keys; raises JsonError for the first thing that JSON can't hold."""
    if isinstance(value, str):
        if not _is_unicode(value):
            raise JsonError("it is a text that is not valid Unicode", path)
        return str(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return _number(value, path)
    if not isinstance(value, (dict, list, tuple)):
        raise JsonError(f"JSON can't hold a value of type '{type(value).__name__}'", path)
    if id(value) in above:
        raise JsonError("it contains itself", path)
    if len(above) > _DEEPEST_WRITTEN:
        raise JsonError("it is nested too deeply")
    within = above | {id(value)}
    if isinstance(value, dict):
        return _mapping(value, path, within)
    return [_held(item, f"{path}[{index}]", within) for index, item in enumerate(value)]


def _number(value: float, path: str) -> int | float:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise JsonError(f"JSON can't hold the number {float(value)}", path)
        return float(value)
    try:
        str(int(value))
    except ValueError:
        raise JsonError("it is an integer with too many digits", path) from None
    return int(value)


def _mapping(value: Mapping[Any, Any], path: str, within: frozenset[int]) -> dict[str, Any]:
    held: dict[str, Any] = {}
    for key, item in value.items():
        name = key_text(key, path)
        if name in held:
            raise JsonError(f"two of its keys are '{name}' as JSON", path)
        held[name] = _held(item, f"{path}.{name}" if path else name, within)
    return held


def key_text(key: Any, path: str = "") -> str:
    """A mapping's key as JSON has it.

    Raises:
        JsonError: JSON has no such keys.
    """
    if isinstance(key, str):
        if not _is_unicode(key):
            raise JsonError("a key is a text that is not valid Unicode", path)
        return str(key)
    if key is None or isinstance(key, (bool, int)):
        return json.dumps(key)
    if isinstance(key, float) and math.isfinite(key):
        return json.dumps(key)
    if isinstance(key, float):
        raise JsonError(f"JSON can't hold the number {key}", path)
    raise JsonError(f"a key of type '{type(key).__name__}' can't be JSON", path)


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
