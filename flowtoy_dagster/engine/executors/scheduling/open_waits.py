"""Which steps wait for steps that have not ended, at the same cost however many wait."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping


class OpenWaits:
    """The steps of a plan that wait, each for the end of those before it.

    Args:
        waits: the steps before each step, by key.

    Attributes:
        waiting: the steps before each step that has to wait, whether they have ended or not.
        ended: the steps that have ended, or never will start.
    """

    def __init__(self, waits: Mapping[str, set[str]]) -> None:
        self.waiting = {key: needed for key, needed in waits.items() if needed}
        self.ended: set[str] = set()
        self._open = {key: len(needed) for key, needed in self.waiting.items()}
        self._behind: dict[str, list[str]] = defaultdict(list)
        for key, needed in self.waiting.items():
            for before in needed:
                self._behind[before].append(key)

    def end(self, keys: Iterable[str]) -> dict[str, set[str]]:
        """Some steps have ended; gives those that need not wait any longer, in their order.

        Args:
            keys: the steps; those that were given before are passed over.
        """
        ready: dict[str, set[str]] = {}
        for key in keys:
            if key in self.ended:
                continue
            self.ended.add(key)
            for later in self._behind[key]:
                self._open[later] -= 1
                if not self._open[later] and later in self.waiting:
                    ready[later] = self.waiting.pop(later)
        return ready
