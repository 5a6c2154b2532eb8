"""The words of errors: the nearest of the names there are, and what was given instead."""

from __future__ import annotations

import difflib
import functools
import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_LISTED = 12
"""Known names that a hint lists where none is like the one given."""
_COMPARED = 16
"""Candidates that are compared letter by letter, where there are many more."""


@dataclass(frozen=True)
class Suggestion:
    """What to write instead of an unknown name.

    Attributes:
        match: the known name that is most like it; None where none is.
        known: all known names.
    """

    match: str | None
    known: tuple[str, ...]

    @property
    def question(self) -> str | None:
        """`did you mean 'x'?`, or None where no name is like it."""
        return f"did you mean '{self.match}'?" if self.match is not None else None

    @property
    def hint(self) -> str:
        """The question, or else the names there are."""
        if self.question:
            return self.question
        if not self.known:
            return "there are none"
        listed = ", ".join(f"'{name}'" for name in self.known[:_LISTED])
        return f"there are: {listed}{', …' if len(self.known) > _LISTED else ''}"


def nearest(name: str, known: Iterable[str]) -> Suggestion:
    """The known name most like an unknown one."""
    names = tuple(dict.fromkeys(known))
    lower = {candidate.lower(): candidate for candidate in names}
    wanted = name.lower()
    candidates: Iterable[str] = lower
    if len(lower) > _COMPARED:
        candidates = _candidates(wanted, tuple(lower))
    found = difflib.get_close_matches(wanted, candidates, n=1, cutoff=0.6)
    return Suggestion(lower[found[0]] if found else None, names)


def _candidates(wanted: str, names: tuple[str, ...]) -> list[str]:
    """The names that share the most pairs of letters: comparing with each of thousands is slow."""
    index = _pairs_index(names)
    shared: Counter[int] = Counter()
    # A pair that most names have says little, and costs most.
    for places in sorted((index[pair] for pair in _pairs(wanted) if pair in index), key=len):
        if len(shared) >= _COMPARED and len(places) > len(names) // 2:
            break
        shared.update(places)
    length = len(wanted)
    best = heapq.nsmallest(
        _COMPARED, shared, key=lambda at: (-shared[at], abs(len(names[at]) - length), at)
    )
    return [names[at] for at in best]


@functools.lru_cache(maxsize=8)
def _pairs_index(names: tuple[str, ...]) -> dict[str, list[int]]:
    """The places of the names that have a pair of letters, by pair."""
    index: dict[str, list[int]] = defaultdict(list)
    for at, name in enumerate(names):
        for pair in _pairs(name):
            index[pair].append(at)
    return index


def _pairs(text: str) -> set[str]:
    """The pairs of letters that stand side by side, with the first and the last letter."""
    framed = f"\0{text}\0"
    return {framed[at : at + 2] for at in range(len(framed) - 1)}


def show(value: Any) -> str:
    """A received value, short and in the language's words."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...")
