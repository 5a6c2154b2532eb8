"""What a run and a worker say where the worker can't run the run's steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from flowtoy_dagster.engine.sites.site import Site
from flowtoy_dagster.terminal import say

_PAUSE = 10.0
"""Seconds between two looks for runs of machines that have something else."""
_MOST = 3
"""Workers that a run names."""

Found = Iterable[tuple[str, Site | None]]
"""Hosts or runs, and what the machines there have; None where they don't say it."""


def why_nobody_takes(queue: str, site: Site, listening: Found) -> tuple[str, bool]:
    """Why a step waits that is handed out here, and whether it does because workers are busy.

    Args:
        queue: whose workers may take it.
        site: what this machine has.
        listening: the workers that take steps of that queue.
    """
    misfits = []
    for host, other in listening:
        found = [difference.text for difference in site.misfits(other)]
        if not found:
            return f"those on queue '{queue}' are busy", True
        text = f"the worker on {host} {' and '.join(found)}"
        if text not in misfits:
            misfits.append(text)
    if not misfits:
        return f"none listens on queue '{queue}'", False
    more = f"; and {len(misfits) - _MOST} more" if len(misfits) > _MOST else ""
    return f"none on queue '{queue}' can take it: {'; '.join(misfits[:_MOST])}{more}", False


class Strangers:
    """Says of which runs a worker takes no steps, once for each reason.

    Args:
        site: what this machine has.
        look: gives the runs that go on at machines that have something else.
    """

    def __init__(self, site: Site, look: Callable[[], Found]) -> None:
        self._site = site
        self._look = look
        self._next = 0.0
        self._said: set[str] = set()

    def report(self) -> None:
        """Look, where that is due."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _PAUSE
        for run_id, other in self._look():
            if other is None:
                continue
            reasons = " and ".join(one.text for one in self._site.misfits(other))
            if reasons and reasons not in self._said:
                self._said.add(reasons)
                say(f"takes no steps of run {run_id[:8]}, whose machine {reasons}")
