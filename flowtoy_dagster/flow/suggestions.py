"""The words of errors: the nearest of the names there are, and what was given instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def nearest(name: str, known: Iterable[str], limit: int = 12) -> str:
    """A hint that names the known name most like `name`, or else the names there are."""
    names = list(dict.fromkeys(known))
    lower = {candidate.lower(): candidate for candidate in names}
    found = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    if found:
        return f"did you mean '{lower[found[0]]}'?"
    if not names:
        return "there are none"
    more = ", …" if len(names) > limit else ""
    return "there are: " + ", ".join(f"'{candidate}'" for candidate in names[:limit]) + more


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
