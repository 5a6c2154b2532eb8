"""What a run and a worker say where the worker can't run the run's steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from flowtoy_dagster.engine.sites.site import Site
from flowtoy_dagster.terminal import say

_PAUSE = 10.0
"""Seconds between two looks for runs of machines that have something else."""
_MOST = 3
"""Workers that a run names."""

Found = Iterable[tuple[str, Site | None]]
"""Runs, and what the machines there have; None where they don't say it."""


@dataclass(frozen=True)
class Listener:
    """A worker that takes steps of a queue.

    Attributes:
        name: of the worker, other than that of every other one.
        host: where it is.
        site: what its machine has; None where it does not say it.
        is_idle: whether it has had no step for some time.
    """

    name: str
    host: str
    site: Site | None
    is_idle: bool


def why_nobody_takes(
    queue: str, site: Site, listening: Iterable[Listener], deaf: Collection[str], hint: str
) -> tuple[str, bool]:
    """Why a step waits that is handed out here, and whether that may be as it should.

    Args:
        queue: whose workers may take it.
        site: what this machine has.
        listening: the workers that take steps of that queue.
        deaf: the names of those that were idle when the step waited already.
        hint: what may be wrong with such a worker.
    """
    misfits = []
    fitting = []
    for worker in listening:
        found = [difference.text for difference in site.misfits(worker.site)]
        if not found:
            fitting.append(worker)
            continue
        text = f"the worker on {worker.host} {' and '.join(found)}"
        if text not in misfits:
            misfits.append(text)
    if fitting:
        return _why_not_these(queue, fitting, deaf, hint)
    if not misfits:
        return f"none listens on queue '{queue}'", False
    more = f"; and {len(misfits) - _MOST} more" if len(misfits) > _MOST else ""
    return f"none on queue '{queue}' can take it: {'; '.join(misfits[:_MOST])}{more}", False


def _why_not_these(
    queue: str, fitting: Collection[Listener], deaf: Collection[str], hint: str
) -> tuple[str, bool]:
    """Why none of the workers takes a step that each of them can run."""
    idle = [worker for worker in fitting if worker.is_idle]
    for worker in idle:
        if worker.name in deaf:
            text = f"the worker on {worker.host} has a free slot and does not take it; {hint}"
            return text, False
    if idle:
        return f"none on queue '{queue}' has taken it yet", True
    return f"those on queue '{queue}' are busy", True


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
