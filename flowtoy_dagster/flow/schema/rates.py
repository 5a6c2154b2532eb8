"""Rates: how many calls a span of time may hold (language 19.5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

from flowtoy_dagster.flow.files.suggestions import nearest, show

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONG = {
    "sec": "s", "second": "s", "seconds": "s", "min": "m", "minute": "m", "minutes": "m",
    "hour": "h", "hours": "h", "hr": "h", "day": "d", "days": "d",
}
_PATTERN = re.compile(r"\s*(\d{1,12})\s*/\s*([a-zA-Z]+)\s*")
_PER = re.compile(r"\s+(?:per|an?)\s+")
"""What stands for '/' in a rate that is written in words."""
_EXPECTED = "expected a rate such as '10/s', '100/m', '5000/h' or '20000/d'"
MOST_CALLS = 1_000_000
"""Calls of one window: each needs eight bytes in the home."""


@dataclass(frozen=True)
class Rate:
    """At most `calls` calls in any window of `seconds` seconds."""

    calls: int
    seconds: float

    @property
    def interval(self) -> float:
        """Seconds from one call to the next, where they are spaced evenly."""
        return self.seconds / self.calls

    def __str__(self) -> str:
        unit = next(unit for unit, seconds in _UNITS.items() if seconds == self.seconds)
        return f"{self.calls}/{unit}"


def read_rate(value: Any) -> Rate:
    """A rate as written.

    Raises:
        ValueError: it is none; says what is expected.
    """
    short_form = _PER.sub("/", value) if isinstance(value, str) else ""
    found = _PATTERN.fullmatch(short_form)
    if found is None:
        meant = f"; did you mean '{value}/s'?" if type(value) is int and value > 0 else ""
        raise ValueError(f"{_EXPECTED}, got {show(value)}{meant}")
    calls, unit = int(found[1]), found[2]
    if unit not in _UNITS or short_form != value:
        short = unit if unit in _UNITS else _LONG.get(unit.lower()) or nearest(unit, _UNITS).match
        meant = f"; did you mean '{calls}/{short}'?" if short else ""
        raise ValueError(f"{_EXPECTED}, got {show(value)}{meant}")
    if not 1 <= calls <= MOST_CALLS:
        raise ValueError(f"a rate has from 1 to {MOST_CALLS} calls, got {show(value)}")
    return Rate(calls, _UNITS[unit])


def read_rates(value: Any) -> tuple[Rate, ...]:
    """One rate, or several with windows of different lengths; the shortest window first.

    Raises:
        ValueError: one is no rate, there is none, or two have the same window.
    """
    if isinstance(value, Sequence) and all(isinstance(item, Rate) for item in value) and value:
        return tuple(value)
    written = value if isinstance(value, (list, tuple)) else [value]
    if not written:
        raise ValueError(f"{_EXPECTED}, or a list of them, got an empty list")
    by_window: dict[float, Rate] = {}
    for rate in map(read_rate, written):
        other = by_window.setdefault(rate.seconds, rate)
        if other is not rate:
            raise ValueError(f"'{other}' and '{rate}' limit the same window: keep one of them")
    return tuple(by_window[window] for window in sorted(by_window))


Rates = Annotated[tuple[Rate, ...], BeforeValidator(read_rates)]


def show_rates(rates: Sequence[Rate]) -> str:
    """Rates as people read them: `10/s, 5000/h`."""
    return ", ".join(map(str, rates))
