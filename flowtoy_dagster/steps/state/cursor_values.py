"""Cursor values: which of two comes later, and what lies a lag behind one (language 22.1, 22.2).

Numbers are compared with numbers, timestamps with timestamps by time, other texts as text.
What can't be compared without a doubt is an error that names both values.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import re
from fractions import Fraction
from typing import Any, NamedTuple

from flowtoy_dagster.flow.schema.incremental import Lag

Scalar = str | int | float

_ISO = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:([Tt ])(\d{2}:\d{2})(:\d{2})?(?:([.,])(\d{1,18}))?"
    r" ?([Zz]|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)
_NUMBER = re.compile(r"[+-]?\d{1,400}(\.\d{1,400})?", re.ASCII)
_NUMBERED = re.compile(r"(\D*)(\d{1,400})(\D*)", re.ASCII)
_WORDS = re.compile(r"[A-Z][a-z]{2,8},? +\d{1,2}[ ,-].*|\d{1,2}[./]\d{1,2}[./]\d{2,4}( .*)?")
_EPOCHS = ((10**17, 10**9), (10**14, 10**6), (10**11, 10**3), (0, 1))
"""From what magnitude on a number counts how many parts of a second since 1970."""
_SHOWN = 80


class CursorError(Exception):
    """A cursor value that can't be used; the text says why, and names the values."""


class _Moment(NamedTuple):
    """A timestamp or a date as written, in parts.

    Attributes:
        time: to the second; in its own zone.
        fraction: of a second.
        parts: separator, whether seconds are written, the mark and the digits of the fraction.
        zone: as written; empty for none.
        offset: of the zone; None where there is none.
    """

    time: dt.datetime
    fraction: Fraction
    parts: tuple[str, bool, str, int]
    zone: str
    offset: dt.timedelta | None

    @property
    def kind(self) -> str:
        if not self.parts[0]:
            return "a date"
        return "a timestamp without a zone" if self.offset is None else "a timestamp"

    @property
    def order(self) -> tuple[dt.timedelta, Fraction]:
        since = self.time - dt.datetime.min
        return since - (self.offset or dt.timedelta()), self.fraction


def cursor_value(value: Any) -> Scalar:
    """A value that can be a cursor.

    Raises:
        CursorError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise CursorError(f"a cursor value is text or a number, not {_kind(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise CursorError(f"a cursor value can't be {value}")
    if value == "":
        raise CursorError("a cursor value can't be an empty text")
    return value


def is_later(one: Scalar, other: Scalar) -> bool:
    """Whether a value comes after another.

    Raises:
        CursorError: they can't be compared; names both.
    """
    if isinstance(one, str) and isinstance(other, str):
        return _is_later_text(one, other)
    if isinstance(one, str) or isinstance(other, str):
        raise _incomparable(one, other)
    return one > other


def _is_later_text(one: str, other: str) -> bool:
    first, second = _moment(one), _moment(other)
    if first is not None and second is not None and first.kind == second.kind:
        return first.order > second.order
    if first is not None or second is not None:
        raise _incomparable(one, other)
    by_text = one > other
    if _NUMBER.fullmatch(one) and _NUMBER.fullmatch(other):
        by_number = Fraction(one) > Fraction(other)
        if by_number != by_text:
            raise CursorError(
                f"{shown(one)} and {shown(other)} are numbers written as text, which have another "
                "order as text; take them as numbers: 'cursor_path: to_number(…)'"
            )
    if _WORDS.fullmatch(one) and _WORDS.fullmatch(other):
        raise CursorError(
            f"{shown(one)} and {shown(other)} are dates whose text has another order than time; "
            "only ISO 8601 is compared by time"
        )
    return by_text


def is_numbered_otherwise(one: Scalar, other: Scalar) -> bool:
    """Whether two texts with one number each have another order by it: `order-9`, `order-10`."""
    if not isinstance(one, str) or not isinstance(other, str) or len(one) == len(other):
        return False
    first, second = _NUMBERED.fullmatch(one), _NUMBERED.fullmatch(other)
    if first is None or second is None or (first[1], first[3]) != (second[1], second[3]):
        return False
    return (int(first[2]) > int(second[2])) != (one > other)


def behind(value: Scalar, lag: Lag, sign: int) -> Scalar:
    """What lies a lag before a value (`sign` -1) or after it (1), in the form of the value.

    What can't be written in that form exactly is rounded away from the value.

    Raises:
        CursorError: nothing can be taken from it.
    """
    if not lag.amount:
        return value
    if isinstance(value, str):
        moment = _moment(value)
        if moment is None:
            raise CursorError(
                f"'lag' can't be applied to {shown(value)}: it is neither a number nor a time such "
                "as 2026-01-31 or 2026-01-31T08:30:00Z"
            )
        return _written(moment, lag.amount * sign, sign)
    step = lag.amount
    if lag.is_span:
        step *= next(parts for least, parts in _EPOCHS if abs(value) >= least)
    found = Fraction(value) + step * sign
    if isinstance(value, int):
        return math.floor(found) if sign < 0 else math.ceil(found)
    return _float_beyond(found, sign)


def _float_beyond(exact: Fraction, sign: int) -> float:
    """The float next to a number that is not on the other side of it."""
    found = float(exact)
    is_short = found > exact if sign < 0 else found < exact
    return math.nextafter(found, math.inf * sign) if is_short else found


def shown(value: Any) -> str:
    """A value in a message: JSON-like, and not too long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


@functools.lru_cache(maxsize=256)
def _moment(text: str) -> _Moment | None:
    """A timestamp or date in ISO 8601; None where the text is none."""
    found = _ISO.fullmatch(text)
    if found is None or (found[6] and not found[4]):
        return None
    day, separator, minute, second, mark, digits, zone = found.groups()
    try:
        time = dt.datetime.fromisoformat(f"{day}T{minute or '00:00'}{second or ':00'}")
        offset = _offset(zone) if zone else None
        if offset is not None and abs(offset) >= dt.timedelta(hours=24):
            return None
    except ValueError:
        return None
    fraction = Fraction(int(digits), 10 ** len(digits)) if digits else Fraction(0)
    parts = (separator or "", second is not None, mark or "", len(digits or ""))
    end = max(found.end(group) for group in range(1, 7))
    return _Moment(time, fraction, parts, text[end:], offset)


def _offset(zone: str) -> dt.timedelta:
    if zone in "Zz":
        return dt.timedelta()
    digits = zone[1:].replace(":", "").ljust(4, "0")
    if int(digits[2:]) > 59:
        raise ValueError("no zone")
    span = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -span if zone[0] == "-" else span


def _written(moment: _Moment, change: Fraction, sign: int) -> str:
    """The text of a moment that was moved, in the form that it had."""
    separator, has_seconds, mark, digits = moment.parts
    since = moment.time - dt.datetime.min
    total = Fraction(since.days * 86400 + since.seconds) + moment.fraction + change
    unit = Fraction(86400) if not separator else (
        Fraction(1, 10**digits) if has_seconds else Fraction(60)
    )
    counted = total / unit
    whole = (math.floor(counted) if sign < 0 else math.ceil(counted)) * unit
    whole = max(whole, Fraction(0))
    seconds, rest = math.floor(whole), whole % 1
    last = (dt.datetime.max - dt.datetime.min) // dt.timedelta(seconds=1)
    time = dt.datetime.min + dt.timedelta(seconds=min(seconds, last))
    text = f"{time.year:04d}-{time.month:02d}-{time.day:02d}"
    if not separator:
        return text
    text += f"{separator}{time.hour:02d}:{time.minute:02d}"
    if has_seconds:
        text += f":{time.second:02d}"
    if digits:
        text += f"{mark}{int(rest * 10**digits):0{digits}d}"
    return text + moment.zone


def _incomparable(one: Scalar, other: Scalar) -> CursorError:
    return CursorError(
        f"{shown(one)} ({_kind(one)}) and {shown(other)} ({_kind(other)}) can't be compared"
    )


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        moment = _moment(value)
        return moment.kind if moment is not None else "text"
    return "a mapping" if isinstance(value, dict) else "a list"
