"""Durations: a number of seconds, or `500ms`, `30s`, `5m`, `2h`."""

from __future__ import annotations

import math
import re
from typing import Any

from flowtoy_dagster.flow.files.suggestions import show

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)?\s*")


def seconds(value: Any) -> float:
    """The seconds that a duration stands for.

    Raises:
        ValueError: it is not a duration, is negative or is not finite.
    """
    if isinstance(value, bool):
        number = None
    elif isinstance(value, (int, float)):
        number = float(value)
    else:
        found = _PATTERN.fullmatch(value) if isinstance(value, str) else None
        number = float(found[1]) * _UNITS[found[2] or "s"] if found else None
    if number is None or not math.isfinite(number) or number < 0:
        expected = "expected a duration such as 30, '500ms', '30s' or '5m'"
        raise ValueError(f"{expected}, got {show(value)}")
    return number
