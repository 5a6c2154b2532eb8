"""What has become of a run and its steps, from its events alone."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import dagster as dg
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus

State = Literal["pending", "running", "succeeded", "failed", "skipped"]
RunState = Literal["pending", "running", "succeeded", "failed", "cancelled"]

_STEP_STATES: dict[DagsterEventType, State] = {
    DagsterEventType.STEP_START: "running",
    DagsterEventType.STEP_RESTARTED: "running",
    DagsterEventType.STEP_SUCCESS: "succeeded",
    DagsterEventType.STEP_FAILURE: "failed",
    DagsterEventType.STEP_SKIPPED: "skipped",
}
_RUN_STATES: dict[DagsterEventType, RunState] = {
    DagsterEventType.RUN_START: "running",
    DagsterEventType.RUN_SUCCESS: "succeeded",
    DagsterEventType.RUN_FAILURE: "failed",
    DagsterEventType.RUN_CANCELED: "cancelled",
}


@dataclass
class StepStatus:
    """How one step stands.

    Attributes:
        started_at: seconds since 1970; None before it started.
        ended_at: seconds since 1970; None before it ended.
        error: why it failed or was skipped.
        stderr: the last lines of a failed command's stderr.
    """

    name: str
    depends_on: tuple[str, ...] = ()
    state: State = "pending"
    started_at: float | None = None
    ended_at: float | None = None
    attempt: int = 0
    error: str | None = None
    stderr: str = ""

    @property
    def elapsed(self) -> float | None:
        """Seconds from its start to its end."""
        if self.started_at is None or self.ended_at is None:
            return None
        return self.ended_at - self.started_at


@dataclass
class RunStatus:
    """How a run and each of its steps stands; steps in file order, by written name."""

    run_id: str
    name: str
    state: RunState = "pending"
    started_at: float | None = None
    ended_at: float | None = None
    error: str | None = None
    steps: dict[str, StepStatus] = field(default_factory=dict)

    @property
    def success(self) -> bool:
        """Whether the run succeeded."""
        return self.state == "succeeded"

    def count(self, state: State) -> int:
        """How many steps are in a state."""
        return sum(step.state == state for step in self.steps.values())


@dataclass(frozen=True)
class Change:
    """A step's move to another state."""

    step: StepStatus
    timestamp: float


class StatusBuilder:
    """Follows a run's events in their order."""

    def __init__(self, status: RunStatus, names: dict[str, str]) -> None:
        """`names`: written names by step key."""
        self.status = status
        self._names = names

    def add(self, event: DagsterEvent, timestamp: float) -> Change | None:
        """Take in an event; gives the change of a step's state that it means, if it means one."""
        run_state = _RUN_STATES.get(event.event_type)
        if run_state is not None:
            self._change_run(run_state, event, timestamp)
        name = self._names.get(event.step_key or "")
        state = _STEP_STATES.get(event.event_type)
        if name is None or state is None:
            return None
        step = self.status.steps[name]
        step.state = state
        if state == "running":
            step.started_at = step.started_at or timestamp
            step.attempt += 1
        else:
            step.ended_at = timestamp
        if event.event_type == DagsterEventType.STEP_FAILURE:
            step.error, step.stderr = _reason(event)
        elif state == "skipped":
            step.error = _why_skipped(self.status, step)
        return Change(step, timestamp)

    def finish(self, timestamp: float) -> list[Change]:
        """Close the books when no further event will come: what never started was skipped."""
        changes = []
        for step in self.status.steps.values():
            if step.state == "pending":
                step.state, step.ended_at = "skipped", timestamp
                step.error = _why_skipped(self.status, step)
                changes.append(Change(step, timestamp))
            elif step.state == "running":
                step.state, step.ended_at = "failed", timestamp
                step.error = step.error or "interrupted: it never reported an end"
                changes.append(Change(step, timestamp))
        return changes

    def _change_run(self, state: RunState, event: DagsterEvent, timestamp: float) -> None:
        self.status.state = state
        if state == "running":
            self.status.started_at = timestamp
        else:
            self.status.ended_at = timestamp
        if state == "failed":
            self.status.error = event.message


def _reason(event: DagsterEvent) -> tuple[str, str]:
    """A failed step's reason and the last lines of its stderr."""
    data = event.step_failure_data
    metadata = data.user_failure_data.metadata if data.user_failure_data else {}
    reason, stderr = metadata.get("reason"), metadata.get("stderr")
    if reason is not None:
        text = str(stderr.value).strip("`\n") if stderr is not None else ""
        return str(reason.value), text
    return (data.error.message.strip() if data.error else "it failed"), ""


def _why_skipped(status: RunStatus, step: StepStatus) -> str:
    for state in ("failed", "skipped"):
        for name in step.depends_on:
            if status.steps[name].state == state:
                return f"'{name}' {'failed' if state == 'failed' else 'was skipped'}"
    return "the run ended before it"


def run_state_of(status: DagsterRunStatus) -> RunState:
    """The state that a run's status in Dagster stands for."""
    if status in (DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING):
        return "running"
    return {
        DagsterRunStatus.SUCCESS: "succeeded",
        DagsterRunStatus.FAILURE: "failed",
        DagsterRunStatus.CANCELED: "cancelled",
    }.get(status, "pending")  # type: ignore[return-value]


def status_from_log(
    status: RunStatus, names: dict[str, str], entries: Iterable[dg.EventLogEntry]
) -> StatusBuilder:
    """A builder that has read the stored events of a run."""
    builder = StatusBuilder(status, names)
    for entry in entries:
        if entry.dagster_event is not None:
            builder.add(entry.dagster_event, entry.timestamp)
    return builder
