"""How many steps of a plan may run at once, about: so many workers are started beforehand."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping


def steps_at_once(waits: Mapping[str, set[str]], limit: int) -> int:
    """The most steps that are as deep in the plan as each other; `limit` at the most.

    Args:
        waits: the steps before each step, by key; those of a run before it are passed over.
        limit: how many steps may run at once.
    """
    before = {key: needed & waits.keys() for key, needed in waits.items()}
    level = [key for key, needed in before.items() if not needed]
    behind: dict[str, list[str]] = defaultdict(list)
    if len(level) < limit:
        for key, needed in before.items():
            for other in needed:
                behind[other].append(key)
    widest = 0
    waiting = Counter({key: len(needed) for key, needed in before.items()})
    while level and widest < limit:
        widest = max(widest, len(level))
        ended, level = level, []
        for key in ended:
            for later in behind[key]:
                waiting[later] -= 1
                if not waiting[later]:
                    level.append(later)
    return min(widest, limit)
