"""When a schedule comes: cron's five fields and time zones, checked without Dagster."""

from __future__ import annotations

import re
from typing import NamedTuple

from flowtoy_dagster.flow.files.suggestions import nearest, show
from flowtoy_dagster.flow.schema.fields import Misplaced

_SHORTHANDS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
_IN_WORDS = {
    "@hourly": {"hour", "hourly"}, "@weekly": {"week", "weekly"},
    "@monthly": {"month", "monthly"}, "@yearly": {"year", "yearly"},
    "@daily": {"day", "daily", "night", "nightly"},
}
_MOST_DIGITS = 9
_ITEM = re.compile(r"(?P<low>\*|\w+)(?:-(?P<high>\w+))?(?:/(?P<step>\d{1,9}))?", re.ASCII)
_DAYS_IN = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ZONE = re.compile(r"[A-Z][\w+-]*(?:/[\w+-]+)*|UTC", re.ASCII)


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def numbers(self, text: str) -> set[int]:
        """The numbers that the field's text stands for; raises ValueError."""
        return {number for item in text.split(",") for number in self._numbers_of(item)}

    def _numbers_of(self, item: str) -> range:
        match = _ITEM.fullmatch(item)
        if match is None or (match["low"] == "*" and match["high"] is not None):
            raise ValueError(f"invalid {self.name} '{item}'")
        low = self.low if match["low"] == "*" else self._number(match["low"])
        high = low
        if match["high"] is not None:
            high = self._number(match["high"])
        elif match["low"] == "*":
            high = self.high
        elif match["step"] is not None:
            # Readers of cron disagree about what this is.
            raise ValueError(f"'{item}': a step follows '*' or a range, such as 0-30/10")
        if match["high"] is not None and low >= high:
            raise ValueError(f"the range '{item}' of {self.name}s does not go up")
        step = int(match["step"] or 1)
        if match["step"] is not None and not 1 <= step <= high - low:
            raise ValueError(f"the step in '{item}' is not between 1 and {high - low}")
        return range(low, high + 1, step)

    def _number(self, text: str) -> int:
        if text.lower() in self.names:
            return self.low + self.names.index(text.lower())
        is_number = text.isdigit() and len(text) <= _MOST_DIGITS
        if not is_number or not self.low <= int(text) <= self.high:
            span = f"{self.low}-{self.high}"
            meant = text.lower()[:3]
            if meant in self.names and len(text) > len(meant):
                raise ValueError(f"invalid {self.name} '{text}' (write '{meant}')")
            raise ValueError(f"invalid {self.name} '{text}' (expected {span})")
        return int(text)


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 7, _WEEKDAYS),
)


def check_cron(text: str) -> str:
    """A cron schedule as it is.

    Raises:
        ValueError: it is not one, or never fires; says which field is wrong.
    """
    if text in _SHORTHANDS:
        return text
    if text.startswith("@"):
        hint = nearest(text, _SHORTHANDS).hint
        raise Misplaced(f"there is no {show(text)}", (), hint, at_key=False)
    parts = text.split()
    if len(parts) != len(_FIELDS):
        message = f"expected five fields, minute hour day month weekday, got {show(text)}"
        raise Misplaced(message, (), _shorthand_for(text), at_key=False)
    numbers = [field.numbers(part) for field, part in zip(_FIELDS, parts, strict=True)]
    _, _, days, months, _ = numbers
    if min(days) > max(_DAYS_IN[month - 1] for month in months):
        raise ValueError(f"{show(text)} never fires: its months have no day {min(days)}")
    return text


def _shorthand_for(text: str) -> str | None:
    """A hint for a schedule in words."""
    words = re.findall("[a-z]+", text.lower())
    for shorthand, meant in _IN_WORDS.items():
        if meant & set(words):
            return f"write '{shorthand}'" if shorthand != "@daily" else (
                "each day at midnight is '@daily'; at three o'clock it is '0 3 * * *'"
            )
    return None


def check_timezone(name: str) -> str:
    """A time zone's name as it is.

    Raises:
        ValueError: there is no such zone; names the nearest.
    """
    import zoneinfo

    try:
        if not _ZONE.fullmatch(name):
            raise ValueError
        zoneinfo.ZoneInfo(name)
    except (ValueError, zoneinfo.ZoneInfoNotFoundError, OSError):
        near = None
        if not name.isupper():  # 'CEST' and 'PDT' are no names, and near to some of elsewhere
            near = nearest(name, sorted(zoneinfo.available_timezones())).question
        hint = near or "time zones are named for places, such as 'Europe/Zurich', or 'UTC'"
        raise Misplaced(f"there is no time zone {show(name)}", (), hint, at_key=False) from None
    return name
