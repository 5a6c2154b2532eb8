"""Durations: a number of seconds, or `500ms`, `30s`, `5m`, `2h`."""

from __future__ import annotations

import math
import re
from typing import Any

from flowtoy_dagster.flow.files.suggestions import show

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([dw])(?:ays?|eeks?)?\s*")
_PARTS = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_WORDS = re.compile(r"ms|milli(seconds?)?|s(ecs?|econds?)?|m(ins?|inutes?)?|h(rs?|ours?)?")
_AND = re.compile(r"\band\b|,")
_LARGEST = 1e300
_LONG_UNITS = {"d": 86_400.0, "w": 604_800.0}
_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)?\s*")


def seconds(value: Any) -> float:
    """The seconds that a duration stands for.

    Raises:
        ValueError: it is not a duration, is negative or is not finite.
    """
    if isinstance(value, bool):
        number = None
    elif isinstance(value, (int, float)):
        # No float holds an integer of more than 308 digits.
        number = float(value) if abs(value) < _LARGEST else math.inf
    else:
        found = _PATTERN.fullmatch(value) if isinstance(value, str) else None
        number = float(found[1]) * _UNITS[found[2] or "s"] if found else None
    if number is None or not math.isfinite(number) or number < 0:
        expected = "expected a duration such as 30, '500ms', '30s', '5m' or '2h'"
        raise DurationError(f"{expected}, got {show(value)}", _hint(value))
    return number


def seconds_of_span(text: str) -> float:
    """The seconds of a duration that may be long: `3d` and `2w`, too.

    Raises:
        DurationError: it is none.
    """
    found = _LONGER.fullmatch(text)
    return float(found[1]) * _LONG_UNITS[found[2]] if found else seconds(text)


class DurationError(ValueError):
    """What is no duration.

    Attributes:
        hint: what to write instead, where it is likely to be one in other units.
    """

    def __init__(self, message: str, hint: str | None) -> None:
        super().__init__(message)
        self.hint = hint


def _unit(word: str) -> str:
    return "ms" if word.startswith(("ms", "mil")) else word[0]


def _written(number: float) -> str:
    """A number of seconds in the largest unit that holds it whole."""
    unit = next((one for one in ("h", "m", "s") if number % _UNITS[one] == 0 and number), "ms")
    return f"{number / _UNITS[unit]:g}{unit}"


def _hint(value: Any) -> str | None:
    """The hint for several units, for words, and for days, which are not all equally long."""
    if not isinstance(value, str):
        return None
    plain = _AND.sub(" ", value.lower())
    parts = _PARTS.findall(plain)
    only_parts = not _PARTS.sub("", plain).strip()
    if parts and only_parts and all(_WORDS.fullmatch(unit) for _, unit in parts):
        return f"write {_written(sum(float(size) * _UNITS[_unit(unit)] for size, unit in parts))}"
    found = _LONGER.fullmatch(value)
    if found is None:
        return None
    hours = float(found[1]) * (24 if found[2] == "d" else 168)
    return f"there are no {'days' if found[2] == 'd' else 'weeks'}: write {hours:g}h"
