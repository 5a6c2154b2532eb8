"""How much one template may make: its loops, and what its operators and methods repeat.

Time is bounded by a step's deadline; these bounds are for what no deadline can interrupt, since one
operation of Python would take all the memory there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
            check_format(str(left), right if isinstance(right, tuple) else (right,))
        return
    lengths = [len(value) for value in (left, right) if isinstance(value, Sequence)]
    numbers = [value for value in (left, right) if isinstance(value, int)]
    if operator == "+":
        check_length(sum(lengths))
    elif operator == "*" and lengths and numbers:
        check_length(lengths[0] * numbers[0])
    elif len(numbers) == 2:
        bits = left.bit_length() * right if operator == "**" else sum(map(int.bit_length, numbers))
        if bits > MOST_BITS:
            raise TemplateError(f"the result of '{operator}' would have more than {MOST_BITS} bits")


def check_call(function: Any, args: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Raise TemplateError where a method of a text would make too much."""
    function = getattr(function, "__wrapped__", function)
    text, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    values = [*args, *named.values()]
    if not isinstance(text, (str, bytes)):
        return
    if name in _PADDING:
        check_widths(values)
        if name == "expandtabs":
            check_length(text.count("\t" if isinstance(text, str) else b"\t") * _largest(values))  # type: ignore[arg-type]
    elif name in ("format", "format_map"):
        check_format(str(text), values)
    elif name == "replace" and len(values) > 1:
        check_replacement(text, values[0], values[1])
    elif name == "join" and values and isinstance(values[0], Sequence):
        check_length(len(text) * len(values[0]))


def check_widths(values: Iterable[Any]) -> None:
    """Raise TemplateError where a number is no width that a text may be padded to."""
    check_length(_largest(values))


def check_format(text: str, values: Iterable[Any]) -> None:
    """Raise TemplateError where a format asks for too wide a field."""
    check_length(max((int(width[:20]) for width in _WIDTH.findall(text)), default=0))
    if "*" in text or re.search(r"\{[^}]*\{", text):  # a width may be one of the values
        check_widths(values)


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


def _largest(values: Iterable[Any]) -> int:
    return max((value for value in values if isinstance(value, int)), default=0)


def check_length(length: int) -> None:
    """Raise TemplateError where a text or a list would be too long."""
    if length > LONGEST:
        raise TemplateError(f"the result would have more than {LONGEST} characters or items")
