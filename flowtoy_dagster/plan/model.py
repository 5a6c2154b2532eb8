"""A plan: what a run of a flow would do, as frozen values; texts in it are masked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from flowtoy_dagster.errors import Location


@dataclass(frozen=True)
class Reason:
    """Why a step waits for another.

    Attributes:
        field: `depends_on`, or the key whose template refers to the other step.
        name: what the template refers to, such as `flows.a.rows`.
        needed: whether the step is skipped where the other one was skipped.
        place: where it is written.
    """

    field: str
    name: str | None
    needed: bool
    place: Location | None


@dataclass(frozen=True)
class Wait:
    """A step that another waits for, and each reason."""

    step: str
    reasons: tuple[Reason, ...]

    @property
    def needed(self) -> bool:
        """Whether one of its outputs is needed."""
        return any(reason.needed for reason in self.reasons)


@dataclass(frozen=True)
class PlannedStep:
    """What is known of a step before it runs.

    Attributes:
        level: from 1; steps of one level wait for none of each other.
        type: the provider's.
        call: what it calls as written, in a few words.
        for_each: what it is repeated for, where it is.
        fate: `runs`, `skipped`, `fails`, or `open` where only the run decides.
        reason: why it is skipped, or fails.
        condition: its `when`.
        decided_by: the parameters and variables that decide its condition.
        waits: the steps before it.
        limits: what bounds it, besides the limit of the whole run.
        retry: what a retry would do with it: `reused`, or `runs` and why.
    """

    name: str
    level: int
    type: str
    call: str
    for_each: str | None = None
    fate: str = "runs"
    reason: str | None = None
    condition: str | None = None
    decided_by: tuple[str, ...] = ()
    waits: tuple[Wait, ...] = ()
    limits: tuple[str, ...] = ()
    retry: str | None = None


@dataclass(frozen=True)
class PlannedNotification:
    """A call when the run has ended, and the ends of a run that it reports."""

    on: tuple[str, ...]
    type: str
    call: str


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        workers: how many steps may run at once, and who says so.
        limits: the other limits of the run.
        steps: in the order of their levels.
        notify: the calls when it has ended, in the order of the file.
    """

    flow: str
    workers: tuple[int, str]
    limits: tuple[str, ...]
    steps: tuple[PlannedStep, ...]
    notify: tuple[PlannedNotification, ...] = ()


def as_json(plan: Plan) -> dict[str, Any]:
    """A plan as plain data."""
    most, origin = plan.workers
    return {
        "flow": plan.flow,
        "max_workers": {"value": most, "from": origin},
        "limits": list(plan.limits),
        "steps": [_step(step) for step in plan.steps],
        "notify": [{**asdict(call), "on": list(call.on)} for call in plan.notify],
    }


def _step(step: PlannedStep) -> dict[str, Any]:
    facts = asdict(step)
    facts["waits"] = [
        {"step": wait.step, "needed": wait.needed, "reasons": [_reason(r) for r in wait.reasons]}
        for wait in step.waits
    ]
    return {key: list(value) if isinstance(value, tuple) else value for key, value in facts.items()}


def _reason(reason: Reason) -> Mapping[str, Any]:
    place = reason.place
    return {
        "field": reason.field,
        "name": reason.name,
        "needed": reason.needed,
        "file": place.file if place else None,
        "line": place.line if place else None,
        "column": place.column if place else None,
    }
