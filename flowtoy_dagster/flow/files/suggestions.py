"""The words of errors: the nearest of the names there are, and what was given instead."""

from __future__ import annotations

import bisect
import contextlib
import difflib
import functools
import heapq
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

from flowtoy_dagster.flow.files.synonyms import meanings

_LISTED = 12
"""Known names that a hint lists where none is like the one given."""
_LOOKED_AT = 1000
"""Places that are looked at for candidates; the more names, the fewer pairs of letters."""
_COMPARED = 8
"""Candidates that are compared letter by letter, where there are many more."""


class Suggestion(NamedTuple):
    """What to write instead of an unknown name.

    Attributes:
        match: the known name that is most like it; None where none is.
        known: the known names that a hint lists, and one more where there are more.
        unseen: a character in the unknown name that nobody sees.
    """

    match: str | None
    known: tuple[str, ...]
    unseen: str | None = None

    @property
    def question(self) -> str | None:
        """`did you mean 'x'?`, or None where no name is like it."""
        if self.match is None:
            return None
        question = f"did you mean '{self.match}'?"
        if self.unseen is None:
            return question
        return f"{question} there is a character that nobody sees in it (U+{ord(self.unseen):04X})"

    @property
    def hint(self) -> str:
        """The question, or else the names there are."""
        if self.question:
            return self.question
        if not self.known:
            return "there are none"
        listed = ", ".join(f"'{name}'" for name in self.known[:_LISTED])
        return f"there are: {listed}{', …' if len(self.known) > _LISTED else ''}"


def nearest(name: str, known: Iterable[str], *, but: str | None = None) -> Suggestion:
    """The known name most like an unknown one.

    Args:
        name: the unknown name.
        known: the names that could stand in its place.
        but: one of them that can't.
    """
    index = _index(tuple(known))
    wanted = name.lower()
    candidates = [
        candidate for candidate in index.candidates(wanted) if index.names[candidate] != but
    ]
    found = difflib.get_close_matches(wanted, candidates, n=1, cutoff=0.6)
    unseen = next((one for one in name if not one.isprintable() and one not in "\t\n"), None)
    listed = itertools.islice((one for one in index.all if one != but), _LISTED + 1)
    meant = next((one for one in meanings(name) if one != but and one in index.all), None)
    if meant is None and found:
        meant = index.names[found[0]]
    return Suggestion(meant, tuple(listed), unseen)


def several_meant(names: Sequence[str], known: Iterable[str]) -> str | None:
    """`did you mean 'a' for 'b', 'c' for 'd'?`; None where one of the names is like none."""
    found = [(name, nearest(name, known).match) for name in names]
    if any(match is None for _, match in found):
        return None
    if len(found) == 1:
        return f"did you mean '{found[0][1]}'?"
    listed = ", ".join(f"'{match}' for '{name}'" for name, match in found)
    return f"did you mean {listed}?"


def continued(beginning: str, known: Iterable[str]) -> str | None:
    """The first, by alphabet, of the known names that begin so; None where none does."""
    names = _index(tuple(known)).by_alphabet
    at = bisect.bisect_left(names, beginning)
    return names[at] if at < len(names) and names[at].startswith(beginning) else None


class _Index:
    """Known names, and which of them have a pair of letters.

    Comparing a name with each of thousands would be slow; only those that share the most
    pairs of letters with it are compared.
    """

    def __init__(self, known: tuple[str, ...]) -> None:
        self.all = dict.fromkeys(known)
        self.by_alphabet = sorted(self.all)
        self.names = {name.lower(): name for name in self.all}
        self._lower = tuple(self.names)
        self._places: dict[str, list[int]] = defaultdict(list)
        if len(self._lower) > _COMPARED:
            for place, name in enumerate(self._lower):
                for pair in _pairs(name):
                    self._places[pair].append(place)

    def candidates(self, wanted: str) -> Iterable[str]:
        """The names, in lower case, that are worth a comparison."""
        if len(self._lower) <= _COMPARED:
            return self._lower
        shared: Counter[int] = Counter()
        looked_at = 0
        # A pair that many names have says little, and costs most.
        found = (self._places[pair] for pair in _pairs(wanted) if pair in self._places)
        for places in sorted(found, key=len):
            if len(shared) >= _COMPARED and looked_at + len(places) > _LOOKED_AT:
                break
            looked_at += len(places)
            shared.update(places)
        length = len(wanted)

        def likeness(place: int) -> tuple[float, int]:
            return shared[place] / (length + len(self._lower[place])), -place

        best = heapq.nlargest(_COMPARED, shared, key=likeness)
        return [self._lower[place] for place in best]


_index = functools.lru_cache(maxsize=8)(_Index)


def _pairs(text: str) -> set[str]:
    """The pairs of letters that stand side by side, with the first and the last letter."""
    framed = f"\0{text}\0"
    return {framed[at : at + 2] for at in range(len(framed) - 1)}


_SHOWN = 60
"""Characters of a value that an error shows."""
NOT_SHOWN = "a value that is not shown"
_secret: ContextVar[bool] = ContextVar("_secret", default=False)


@contextlib.contextmanager
def not_showing(is_secret: bool) -> Iterator[None]:
    """Show no values in the words of errors, within a block, if they may be secrets."""
    token = _secret.set(is_secret or _secret.get())
    try:
        yield
    finally:
        _secret.reset(token)


_hide: ContextVar[Callable[[str], str]] = ContextVar("_hide", default=str)


@contextlib.contextmanager
def showing_by(hide: Callable[[str], str]) -> Iterator[None]:
    """Hide what is secret in the values that errors show, within a block.

    What is shown is cut, and what is cut can't be recognised as secret any more.
    """
    token = _hide.set(hide)
    try:
        yield
    finally:
        _hide.reset(token)


def without_value(message: str) -> str:
    """The words of an error without the mention of a value that is not shown."""
    return message.replace(f", got {NOT_SHOWN}", "").replace(NOT_SHOWN, "it")


def show(value: Any) -> str:
    """A received value, short and in the language's words."""
    if _secret.get() and not (value is None or isinstance(value, (bool, dict, list, tuple))):
        return NOT_SHOWN
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"the number {_short(value)}"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = _hide.get()(str(value))
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")


def _short(number: float) -> str:
    """A number; of a very long one its size."""
    digits = int(number.bit_length() * math.log10(2)) if isinstance(number, int) else 0
    return str(number) if digits < _SHOWN else f"of {digits:,} digits"
