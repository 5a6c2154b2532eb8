"""Durations: a number of seconds, or `500ms`, `30s`, `5m`, `2h`."""

from __future__ import annotations

import math
import re
from typing import Any

from flowtoy_dagster.flow.files.suggestions import show

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([dw])(?:ays?|eeks?)?\s*")
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
        raise DurationError(f"{expected}, got {show(value)}", _in_hours(value))
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


def _in_hours(value: Any) -> str | None:
    """The hint for days and weeks, which have not always the same length."""
    found = _LONGER.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    hours = float(found[1]) * (24 if found[2] == "d" else 168)
    return f"there are no {'days' if found[2] == 'd' else 'weeks'}: write {hours:g}h"
