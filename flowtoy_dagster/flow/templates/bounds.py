"""How much one template may make: its loops, and what its operators and methods repeat.

Time is bounded by a step's deadline; these bounds are for what no deadline can interrupt, since one
operation of Python would take all the memory there is.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from flowtoy_dagster.errors import TemplateError

MOST_ROUNDS = 10_000_000
"""How often all loops of a template may go round, in all."""
LONGEST = 64 * 1024 * 1024
"""Characters of a text, or items of a list, that one operation may make."""
MOST_BITS = 64 * 1024
"""Bits of a number that one operation may make."""
BUDGET = "__rounds__"
"""Context key: the `Rounds` of one rendering."""

_WIDTH = re.compile(r"\d{7,}")
_NAMED = re.compile(r"%\((.*?)\)")
_PADDING = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs"})


class Rounds:
    """Counts how often the loops of one rendering go round."""

    def __init__(self) -> None:
        self._left = MOST_ROUNDS

    def counted(self, items: Iterable[Any]) -> Iterator[Any]:
        """The same items, each of which is counted."""
        for item in items:
            self._left -= 1
            if self._left < 0:
                raise TemplateError(f"the loops of a template go round {MOST_ROUNDS} times at most")
            yield item


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Raise TemplateError where an operation would make too much.

    Args:
        operator: `+`, `*`, `**` or `%`.
        left: what stands before it.
        right: what stands behind it.
    """
    if operator == "%":
        if isinstance(left, (str, bytes)):
            check_percent(str(left), right if isinstance(right, tuple) else (right,))
        return
    lengths = [len(value) for value in (left, right) if isinstance(value, Sequence)]
    numbers = [value for value in (left, right) if isinstance(value, int)]
    if operator == "+":
        check_length(sum(lengths))
    elif operator == "*" and lengths and numbers:
        repeated = left if isinstance(left, Sequence) else right
        check_length(max(lengths[0], _weight(repeated, {})) * numbers[0])
    elif len(numbers) == 2:
        bits = left.bit_length() * right if operator == "**" else sum(map(int.bit_length, numbers))
        if bits > MOST_BITS:
            raise TemplateError(f"the result of '{operator}' would have more than {MOST_BITS} bits")


def check_call(function: Any, args: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Raise TemplateError where a method of a text or a number would make too much."""
    function = getattr(function, "__wrapped__", function)
    text, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    values = [*args, *named.values()]
    if isinstance(text, int) and name == "to_bytes":
        check_widths(values)
    if not isinstance(text, (str, bytes)):
        return
    if name in _PADDING:
        check_widths(values)
        if name == "expandtabs":
            check_length(text.count("\t" if isinstance(text, str) else b"\t") * _largest(values))  # type: ignore[arg-type]
    elif name in ("format", "format_map"):
        check_format(str(text), values)
        check_fields(str(text), args, values[0] if name == "format_map" else named)
    elif name == "replace" and len(values) > 1:
        check_replacement(text, values[0], values[1])
    elif name == "join" and values and isinstance(values[0], Sequence):
        check_length(len(text) * len(values[0]) + sum(map(_length, values[0])))
    elif name == "translate" and values and isinstance(values[0], Mapping):
        check_translation(str(text), values[0])


def check_widths(values: Iterable[Any]) -> None:
    """Raise TemplateError where a number is no width that a text may be padded to."""
    check_length(_largest(values))


def check_format(text: str, values: Iterable[Any]) -> None:
    """Raise TemplateError where a format asks for too wide a field."""
    check_length(max((int(width[:20]) for width in _WIDTH.findall(text)), default=0))
    if "*" in text or re.search(r"\{[^}]*\{", text):  # a width may be one of the values
        check_widths(values)


def check_translation(text: str, table: Mapping[Any, Any]) -> None:
    """Raise TemplateError where `text.translate(table)` would make too long a text."""
    letters = {key: new for key, new in table.items() if isinstance(key, int)}
    counts = Counter(map(ord, text)) if letters else {}
    check_length(len(text) + sum(counts.get(key, 0) * _length(new)
                                 for key, new in letters.items()))


def check_percent(text: str, values: Sequence[Any]) -> None:
    """Raise TemplateError where `text % values` would make too long a text."""
    check_format(text, values)
    if len(values) == 1 and isinstance(values[0], Mapping):
        check_length(sum(_length(values[0].get(name)) for name in _NAMED.findall(text)))
    else:
        check_length(sum(map(_length, values)))


def check_fields(text: str, args: Sequence[Any], named: Any) -> None:
    """Raise TemplateError where the texts that fill the fields of a format would be too long."""
    length, count = len(text), 0
    with suppress(ValueError, LookupError, TypeError):  # Python says what is wrong with it
        for _, name, _, _ in string.Formatter().parse(text):
            if name is not None:
                key = name or str(count)
                count += not name
                length += _length(args[int(key)] if key.isdecimal() else named[key])
    check_length(length)


def check_replacement(text: Any, old: Any, new: Any) -> None:
    """Raise TemplateError where replacing would make too long a text."""
    parts = (text, old, new)
    if all(isinstance(part, str) for part in parts) or all(isinstance(p, bytes) for p in parts):
        check_length(len(text) + text.count(old) * len(new))


def within_length(parts: Iterable[str], between: int = 0) -> Iterator[str]:
    """The same texts, as long as all of them together are not too long.

    Args:
        parts: texts that will be joined.
        between: characters that come between two of them.

    Raises:
        TemplateError: they are too long.
    """
    length = 0
    for part in parts:
        length += len(part) + between
        check_length(length)
        yield part


def _length(value: Any) -> int:
    """The length of a text; 0 of anything else."""
    return len(value) if isinstance(value, (str, bytes)) else 0


def _weight(value: Any, known: dict[int, int]) -> int:
    """How many characters and items there are in a value, one that is in it twice counted twice.

    Args:
        value: the value.
        known: those of the lists and mappings that were counted, by their identity.
    """
    if isinstance(value, (str, bytes)):
        return max(1, len(value))
    if not isinstance(value, (list, tuple, dict)):
        return 1
    if id(value) not in known:
        items = value.values() if isinstance(value, dict) else value
        known[id(value)] = max(1, sum(_weight(item, known) for item in items))
    return known[id(value)]


def _largest(values: Iterable[Any]) -> int:
    return max((value for value in values if isinstance(value, int)), default=0)


def check_length(length: int) -> None:
    """Raise TemplateError where a text or a list would be too long."""
    if length > LONGEST:
        raise TemplateError(f"the result would have more than {LONGEST} characters or items")
