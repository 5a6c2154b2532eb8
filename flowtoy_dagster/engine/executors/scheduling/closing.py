"""Steps with `run_if: failure` or `always`, here *closing* steps: when they start (language 19.3).

No output of the steps before them tells that: those may never have started. So an execution takes
closing steps out of Dagster's hands until all that they wait for has ended, one way or another.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from dagster import DagsterEvent, DagsterEventType

from flowtoy_dagster.engine.tags import GRACE_TAG, RUN_IF_TAG, TIMEOUT_TAG


def run_if(step: Any) -> str:
    """`success`, `failure` or `always`."""
    found: str = (step.tags or {}).get(RUN_IF_TAG, "success")
    return found


def steps_of(plan: Any) -> dict[str, Any]:
    """The steps of an `ExecutionPlan` that are executed, by key."""
    steps = (plan.step_dict[handle] for handle in plan.step_handles_to_execute)
    return {step.key: step for step in steps}


def grace_of(plan: Any) -> float:
    """Seconds that closing steps have together in a run that is being ended."""
    tags = (step.tags or {} for step in steps_of(plan).values())
    return max((float(each[GRACE_TAG]) for each in tags if GRACE_TAG in each), default=0.0)


def limit_of(step: Any) -> float | None:
    """Seconds after the begin of the run in which a step must have ended; None is for ever."""
    tags = step.tags or {}
    if TIMEOUT_TAG not in tags:
        return None
    return float(tags[TIMEOUT_TAG]) + float(tags.get(GRACE_TAG, 0.0))


class ClosingSteps:
    """The closing steps of a plan that have not started.

    Args:
        plan: what is executed.
        waits: the steps that each step waits for, by key.
    """

    def __init__(self, plan: Any, waits: Mapping[str, set[str]]) -> None:
        steps = steps_of(plan)
        self.keys = frozenset(key for key, step in steps.items() if run_if(step) != "success")
        self._kinds = {key: run_if(steps[key]) for key in self.keys}
        self._waits = {key: set(needed) for key, needed in waits.items()}
        last = {key for key in self.keys if not steps[key].step_inputs}
        behind = _all_behind(last, self._waits)
        for key in last:
            # Without dependencies it waits for the whole run, but for what waits for such steps.
            self._waits[key] = set(steps) - behind
        self.waiting: dict[str, set[str]] = {key: self._waits[key] for key in self.keys}

    def ready(
        self, ended: set[str], has_failed: Callable[[str], bool], is_lost: Callable[[str], bool]
    ) -> tuple[list[str], list[str]]:
        """Those that are to start now, and those that will not.

        Args:
            ended: the steps that have ended, or never will start.
            has_failed: whether a step failed.
            is_lost: whether a step never started, because of a failure before it or a halt.
        """
        start: list[str] = []
        leave: list[str] = []
        for key in [key for key, needed in self.waiting.items() if needed <= ended]:
            # In a retry that runs nothing of what it waits for, it was wanted before.
            wanted: bool | None = self._kinds[key] == "always" or not self._waits[key]
            wanted = wanted or self._is_wanted(key, ended, has_failed, is_lost)
            if wanted is None:
                continue
            del self.waiting[key]
            (start if wanted else leave).append(key)
        return start, leave

    def _is_wanted(
        self,
        key: str,
        ended: set[str],
        has_failed: Callable[[str], bool],
        is_lost: Callable[[str], bool],
    ) -> bool | None:
        """Whether what a step waits for failed, or was lost to a failure at any distance.

        Returns:
            None where that is not known yet: what was lost to a halt waited for a step that is
            still running, and may fail.
        """
        pending, seen = list(self._waits[key]), set()
        is_known = True
        while pending:
            before = pending.pop()
            if has_failed(before):
                return True
            if before not in seen and is_lost(before):
                seen.add(before)
                pending += self._waits.get(before, ())
            elif before not in ended:
                is_known = False
        return False if is_known else None

    @property
    def always(self) -> set[str]:
        """Those that run in any case."""
        return {key for key, kind in self._kinds.items() if kind == "always"}

    def keep_always(self) -> set[str]:
        """The run was interrupted: only `always` is left; gives those that are not."""
        dropped = self.waiting.keys() - self.always
        for key in dropped:
            del self.waiting[key]
        return dropped


class SparedSteps:
    """Processes of closing steps in a run that is being ended: a first interrupt is not for them.

    A second one ends them, or the end of the run's grace.

    Args:
        plan: what is executed.

    Attributes:
        keys: the closing steps.
        of_steps: the processes of these, by step.
        others: those of other steps, as what ends them at an interrupt sees them.
    """

    def __init__(self, plan: Any) -> None:
        steps = steps_of(plan)
        self.keys = frozenset(key for key, step in steps.items() if run_if(step) != "success")
        self.of_steps: dict[str, Any] = {}
        self.others: dict[str, Any] = {}
        self._grace = grace_of(plan)
        self._end: float | None = None
        self._is_over = False

    def look(self, interrupted: bool) -> bool:
        """Whether all processes are to be ended; those of closing steps are among `others` then.

        Args:
            interrupted: whether the run was interrupted since the last look.
        """
        now = time.monotonic()
        if interrupted and self._end is None:
            self._end = now + self._grace
        elif interrupted or (self._end is not None and now >= self._end):
            self._is_over = True
        if self._is_over:
            self.others.update(self.of_steps)
        return self._is_over

    def is_ended(self, step_key: str) -> bool:
        """Whether interrupts, or the end of the grace, have ended the process of a step."""
        return self._is_over or (self._end is not None and step_key not in self.keys)


def _all_behind(keys: Iterable[str], waits: Mapping[str, set[str]]) -> set[str]:
    """Steps and all that wait for them, at any distance."""
    found = set(keys)
    while True:
        more = {key for key, needed in waits.items() if needed & found} - found
        if not more:
            return found
        found |= more


def with_closing_steps(
    iterate: Callable[[Any], Iterator[DagsterEvent]],
    plan: Any,
    interrupts: tuple[type[BaseException], ...],
) -> Iterator[DagsterEvent]:
    """What executing a plan gives; where it is interrupted, `always` steps are executed after it.

    Args:
        iterate: executes a plan.
        plan: the plan.
        interrupts: what it raises where the run is interrupted.
    """
    started: set[str | None] = set()
    try:
        for event in iterate(plan):
            if event.event_type == DagsterEventType.STEP_START:
                started.add(event.step_key)
            yield event
    except interrupts:
        rest = always_steps(plan, started)
        if rest is not None:
            yield from iterate(rest)
        raise


def always_steps(plan: Any, started: set[str | None]) -> Any:
    """A plan of the `always` steps that have not started; None where there are none."""
    keys = [
        key for key, step in steps_of(plan).items()
        if run_if(step) == "always" and key not in started
    ]
    if not keys:
        return None
    handles = {key: plan.executable_map[key] for key in keys}
    return plan._replace(
        step_handles_to_execute=list(handles.values()), executable_map=handles, resolvable_map={}
    )
