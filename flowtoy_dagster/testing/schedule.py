"""Which step of a flow may start when (language 8, 9, 19): the rules that
`engine.executors.scheduling.halting` adds to Dagster's scheduling, over steps by their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from flowtoy_dagster.flow.graph import Flow, halts_run, rule_between, steps_after, tolerated_by

End = Literal["succeeded", "failed", "skipped"]
"""How a step that has started ended; `skipped` is by a condition, or by what it needs."""
AFTER_FAILURE = "a step that it depends on failed"
NOT_WANTED = "no step that it depends on has failed"


class Schedule:
    """The steps of a run, and which of them may start now.

    Args:
        flow: what is run.

    Attributes:
        ends: how the steps that have ended did, by name.
        lost: the steps that will never start, with the reason.
        halted_by: the step whose failure has halted the run.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self.ends: dict[str, End] = {}
        self.lost: dict[str, str] = {}
        self.halted_by: str | None = None
        self._started: set[str] = set()
        self._for_good: set[str] = set()
        self._again: set[str] = set()
        self._tolerated = {step.name: tolerated_by(flow, step) for step in flow.steps}
        self._closing = {step.name for step in flow.steps if step.is_closing}
        self._waits = _waits_of(flow)

    @property
    def is_complete(self) -> bool:
        """Whether every step has ended or never will start."""
        return len(self.ends) + len(self.lost) == len(self._flow.steps)

    def ready(self) -> list[str]:
        """The steps that may start, in file order."""
        while self._lose_some():
            pass
        return [
            step.name for step in self._flow.steps
            if step.name in self._again or (self._waits_no_more(step.name))
        ]

    def start(self, name: str) -> None:
        """A step makes an attempt."""
        self._started.add(name)
        self._again.discard(name)

    def retry(self, name: str) -> None:
        """A step may make another attempt now."""
        self._again.add(name)

    def end(self, name: str, how: End, *, for_good: bool = False) -> None:
        """A step has ended.

        Args:
            name: the step.
            how: as what.
            for_good: whether nothing tolerates its failure: the run's time is up.
        """
        self.ends[name] = how
        if for_good:
            self._for_good.add(name)
        if how == "failed" and self.halted_by is None and halts_run(
            self._flow, self._flow.step(name)
        ):
            self.halted_by = name

    def _waits_no_more(self, name: str) -> bool:
        if name in self._started or name in self.lost:
            return False
        return all(before in self.ends or before in self.lost for before in self._waits[name])

    def _lose_some(self) -> bool:
        """Note the steps that will never start; gives whether there are more of them now."""
        found: dict[str, str] = {}
        for step in self._flow.steps:
            if self._waits_no_more(step.name):
                reason = self._why_never(step.name)
                if reason is not None:
                    found[step.name] = reason
        if self.halted_by is not None:
            held_back = self._held_back(found)
            found |= dict.fromkeys(held_back, f"the run was halted when '{self.halted_by}' failed")
        self.lost |= found
        return bool(found)

    def _why_never(self, name: str) -> str | None:
        step = self._flow.step(name)
        if step.is_closing:
            wanted = step.run_if == "always" or not self._waits[name] or self._is_wanted(name)
            return None if wanted else NOT_WANTED
        for before in step.upstream:
            if before in self.lost or before in self._for_good:
                return AFTER_FAILURE
            failed = self.ends[before] == "failed"
            if failed and rule_between(self._flow.step(before), step) != "continue":
                return AFTER_FAILURE
        return None

    def _is_wanted(self, name: str) -> bool:
        """Whether what a closing step waits for failed, or was lost to a failure."""
        pending, seen = list(self._waits[name]), set()
        while pending:
            before = pending.pop()
            if self.ends.get(before) == "failed":
                return True
            if before in self.lost and before not in seen:
                seen.add(before)
                pending += self._waits[before]
        return False

    def _held_back(self, lost: Mapping[str, str]) -> set[str]:
        """The steps that a halt keeps from starting."""
        gone = {*self._started, *self.lost, *lost, *self._closing}
        waiting = {step.name for step in self._flow.steps} - gone
        return waiting - self._spared(waiting)

    def _spared(self, waiting: set[str]) -> set[str]:
        """Of steps that have not started, those that a halt leaves alone (language 9.4).

        They tolerate the failure of a step that they depend on, or of one that may fail still, and
        wait for nothing that the halt keeps from starting.
        """
        going_on = (self._started | self._closing) - self.ends.keys() - self.lost.keys()
        spared: set[str] = set()
        while more := {
            name for name in waiting - spared if self._tolerates(name, going_on | spared)
        }:
            spared |= more  # it may fail in turn
        while stuck := {name for name in spared if self._waits[name] & (waiting - spared)}:
            spared -= stuck
        return spared

    def _tolerates(self, name: str, going_on: set[str]) -> bool:
        return any(
            self.ends.get(before) == "failed" or before in going_on
            for before in self._tolerated[name]
        )


def _waits_of(flow: Flow) -> dict[str, set[str]]:
    """The steps that each step waits for."""
    waits = {step.name: set(step.upstream) for step in flow.steps}
    last = {step.name for step in flow.steps if step.is_closing and not step.upstream}
    behind = last | steps_after(flow, last)
    for name in last:
        # Without dependencies it waits for the whole run, but for what waits for such steps.
        waits[name] = _others(waits, behind)
    return waits


def _others(names: Iterable[str], but: set[str]) -> set[str]:
    return set(names) - but
