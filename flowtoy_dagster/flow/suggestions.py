"""Did you mean …: the nearest of the names there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
