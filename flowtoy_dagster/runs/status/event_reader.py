"""What has become of a run and its steps, from its events alone."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import dagster as dg
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus

from flowtoy_dagster.engine.jobs.events.event_text import CHECK, SKIPPED, text_of
from flowtoy_dagster.engine.jobs.events.loops import ITEMS
from flowtoy_dagster.engine.jobs.events.step_end import failure_prefix
from flowtoy_dagster.engine.jobs.events.step_warning import warning_in
from flowtoy_dagster.engine.jobs.events.waiting import waits_for
from flowtoy_dagster.engine.jobs.incremental.ends import cursor_ends
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.runs.status.models import (
    MOST_WARNINGS,
    Change,
    CursorStatus,
    ItemsStatus,
    RunState,
    RunStatus,
    State,
    StepStatus,
    StepWarning,
)

INTERRUPTED = "interrupted"
"""The reason of a step that was ended with its run."""
_WITHOUT_REASON = "This run has been marked as failed from outside the execution context."
"""What Dagster says of a run that could not begin; an event before it says why."""
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

FOLLOWED = frozenset(
    {
        *_STEP_STATES,
        *_RUN_STATES,
        DagsterEventType.STEP_UP_FOR_RETRY,
        DagsterEventType.STEP_EXPECTATION_RESULT,
        DagsterEventType.ENGINE_EVENT,
    }
)
"""The events that change a status; the others need not be read."""


class StatusBuilder:
    """Follows a run's events in their order.

    Args:
        status: what is known before the first event.
        names: written names by step key.
        halting: the steps whose failure halts the run.
        tolerated: for a step, those whose failure does not keep it from running.
        closing: the steps that run after failures, too.
        incremental: the steps whose cursor is stored when the run ends.
        left_out: the steps that were not chosen when somebody started a part of the flow.
        place: from a step and why it failed to where in the flow's files that is.
        warning_place: the same from a step and the keys within it of what it warns of.
    """

    def __init__(
        self,
        status: RunStatus,
        names: dict[str, str],
        halting: Collection[str] = (),
        tolerated: Mapping[str, Collection[str]] | None = None,
        closing: Collection[str] = (),
        incremental: Collection[str] = (),
        left_out: Collection[str] = (),
        place: Callable[[str, str], str | None] = lambda name, reason: None,
        warning_place: Callable[[str, KeyPath], str | None] = lambda name, path: None,
    ) -> None:
        self.status = status
        self._names = names
        self._halting = halting
        self._tolerated = tolerated or {}
        self._closing = closing
        self._incremental = incremental
        self._left_out = left_out
        self._place = place
        self._warning_place = warning_place
        self._conditional: dict[str, str] = {}
        self._halted_by: str | None = None
        self._has_interrupted_step = False
        self._error_before = ""
        for step in status.steps.values():
            self._note_error(step)

    def add(self, event: DagsterEvent, timestamp: float) -> Change | None:
        """Take in an event; gives what it changes of a step, if it changes something."""
        run_state = _RUN_STATES.get(event.event_type)
        if run_state is not None:
            self._change_run(run_state, event, timestamp)
        elif event.is_engine_event and event.step_key is None and event.engine_event_data.error:
            self._error_before = _message(event.engine_event_data.error)
        self._note_cursors(event)
        name = self._names.get(event.step_key or "")
        if name is None:
            return None
        step = self.status.steps[name]
        if event.event_type == DagsterEventType.STEP_UP_FOR_RETRY:
            return self._note_retry(step, event, timestamp)
        if event.event_type == DagsterEventType.STEP_EXPECTATION_RESULT:
            return self._note_check(step, event, timestamp)
        if event.event_type == DagsterEventType.ENGINE_EVENT:
            return (
                self._note_warning(step, event, timestamp)
                or self._note_wait(step, event, timestamp)
            )
        state = _STEP_STATES.get(event.event_type)
        if state is None or (state == "running" == step.state and not step.waiting):
            return None
        return self._change_step(step, state, event, timestamp)

    def _note_retry(self, step: StepStatus, event: DagsterEvent, timestamp: float) -> Change:
        step.waiting, step.waits_for = True, ""
        error = event.step_retry_data.error
        wait = event.step_retry_data.seconds_to_wait or 0.0
        told = _message(error.cause if error and error.cause else error)
        reason = told.removeprefix(failure_prefix(step.name))
        step.end(("wait",), timestamp)
        step.end(("attempt",), timestamp, reason)
        step.begin("pause", timestamp)
        return Change(step, timestamp, wait, reason)

    def _change_step(
        self, step: StepStatus, state: State, event: DagsterEvent, timestamp: float
    ) -> Change:
        if state == "running":
            step.started_at = step.started_at or timestamp
            step.attempt += 1
            step.waiting = False
            step.begin("attempt", timestamp)
        else:
            step.ended_at, step.waits_for = timestamp, ""
            step.end(("attempt", "wait", "pause"), timestamp)
        if event.event_type == DagsterEventType.STEP_FAILURE:
            step.error, step.stderr, step.called = _reason(event)
            self._note_failure(step)
            if self._halted_by is None and step.name in self._halting:
                self._halted_by = step.name
        elif state == "succeeded" and step.name in self._conditional:
            # Nothing was run, and the attempt was none.
            state, step.started_at, step.attempt = "skipped", None, 0
            step.timeline.clear()
            step.error, step.by_condition = self._conditional[step.name], True
            step.state = state
            return Change(step, timestamp)
        elif state == "succeeded" and step.error is not None:
            state = "failed"  # a failed check came before: a failure that the flow tolerates
        elif state == "skipped":
            step.error = self._why_skipped(step)
        step.state = state
        return Change(step, timestamp)

    def _note_wait(
        self, step: StepStatus, event: DagsterEvent, timestamp: float
    ) -> Change | None:
        text = waits_for(event)
        if text is None or step.state != "running":
            return None
        step.waits_for = text
        step.end(("wait",), timestamp)
        if text:
            step.begin("wait", timestamp, text)
        return Change(step, timestamp) if text else None

    def _note_warning(
        self, step: StepStatus, event: DagsterEvent, timestamp: float
    ) -> Change | None:
        warned = warning_in(event)
        if warned is None or len(step.warnings) >= MOST_WARNINGS:
            return None
        warning = StepWarning(warned.message, self._warning_place(step.name, warned.path))
        if warning in step.warnings:
            return None  # another attempt says the same
        step.warnings.append(warning)
        return Change(step, timestamp, warning=warning)

    def _note_check(
        self, step: StepStatus, event: DagsterEvent, timestamp: float
    ) -> Change | None:
        result = event.step_expectation_result_data.expectation_result
        if result.label == SKIPPED:
            self._conditional[step.name] = result.description or "it was skipped"
        elif not result.success and result.label == CHECK:
            step.error, step.stderr, step.called = _facts(result.metadata, result.description)
            self._note_failure(step)
        elif result.success and result.label == ITEMS:
            step.items = _items(result.metadata)
            return Change(step, timestamp, is_progress=True)
        return None

    def _note_cursors(self, event: DagsterEvent) -> None:
        for end in cursor_ends(event):
            step = self.status.steps.get(self._names.get(end.step_key, ""))
            if step is not None:
                step.cursor = CursorStatus(
                    end.state, end.reason, end.start_value, end.last_value, end.value, end.key,
                    end.items,
                )

    def _why_skipped(self, step: StepStatus) -> str:
        if step.name in self._left_out:
            return "it was not chosen for this run"
        if self._was_interrupted():
            return "the run was interrupted"
        if step.name in self._closing and not self.status.error:
            return f"no step{' that it depends on' if step.depends_on else ''} has failed"
        ends = {name: self.status.steps[name].state for name in step.depends_on}
        for name, state in ends.items():
            if state == "failed" and name not in self._tolerated.get(step.name, ()):
                return f"'{name}' failed"
        for name, state in ends.items():
            if state == "skipped":
                return f"'{name}' was skipped"
        if self._halted_by is not None:
            return f"the run was halted when '{self._halted_by}' failed"
        told = f": {self.status.error}" if self.status.error else ""
        return f"the run ended before it{told}"

    def _note_failure(self, step: StepStatus) -> None:
        self._note_error(step)
        step.place = self._place(step.name, step.error or "")

    def _note_error(self, step: StepStatus) -> None:
        if step.error is not None and step.error.startswith(INTERRUPTED):
            self._has_interrupted_step = True

    def _was_interrupted(self) -> bool:
        if self._has_interrupted_step or self.status.state == "cancelled":
            return True
        return (self.status.error or "").startswith(INTERRUPTED)

    def _why_unfinished(self) -> str:
        """Why a step that was running has no event of its end."""
        if self.status.state == "cancelled":
            return INTERRUPTED
        told = self.status.error or ""
        return told if told.startswith(INTERRUPTED) else f"{INTERRUPTED}: it never reported an end"

    def finish(self, timestamp: float) -> list[Change]:
        """Close the books when no further event will come: what never started was skipped."""
        changes = []
        for step in self.status.steps.values():
            if step.name in self._incremental and step.cursor is None:
                step.cursor = CursorStatus("held", "the run ended before it could be stored")
            if step.state == "pending":
                step.state, step.ended_at = "skipped", timestamp
                step.error = self._why_skipped(step)
                changes.append(Change(step, timestamp))
            elif step.state == "running":
                step.state, step.ended_at, step.waits_for = "failed", timestamp, ""
                step.end(("attempt", "wait", "pause"), timestamp)
                step.error = step.error or self._why_unfinished()
                self._note_failure(step)
                changes.append(Change(step, timestamp))
        return changes

    def _change_run(self, state: RunState, event: DagsterEvent, timestamp: float) -> None:
        self.status.state = state
        if state == "running":
            self.status.started_at = timestamp
        else:
            self.status.ended_at = timestamp
        if state == "failed":
            # None where a run was reported as failed from outside.
            error = event.job_failure_data.error if event.event_specific_data else None
            told = event.message or ""
            if told == _WITHOUT_REASON and self._error_before:
                told = self._error_before
            self.status.error = told if error is None else _message(error)


def _items(metadata: Mapping[str, Any]) -> ItemsStatus:
    failures = tuple((one["key"], one["error"]) for one in metadata["failures"].value)
    return ItemsStatus(**metadata["counts"].value, failures=failures)


def _reason(event: DagsterEvent) -> tuple[str, str, str]:
    """A failed step's reason, the last lines of its stderr, and what it called."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.metadata:
        return _facts(data.user_failure_data.metadata, data.user_failure_data.description)
    if data.error_source is not None and data.error_source.name == "INTERRUPT":
        return INTERRUPTED, "", ""
    return _message(data.error), "", ""


def _message(error: Any) -> str:
    """The first line of an error of Dagster's, without the name of its class."""
    if error is None:
        return "it failed"
    lines: list[str] = error.message.strip().splitlines()
    first = lines[0]
    if first.endswith(":") and len(lines) > 1:
        # Dagster's multiprocess executor lists the errors of its processes.
        first = re.sub(r"^In process \d+: ", "", lines[1])
    name, separator, rest = first.partition(": ")
    return rest if separator and " " not in name else first


def _facts(metadata: Mapping[str, Any], description: str | None) -> tuple[str, str, str]:
    def text(key: str) -> str:
        found = metadata.get(key)
        return str(found.value) if found is not None else ""

    return text("reason") or description or "it failed", text_of(text("stderr")), text("called")


def run_state_of(status: DagsterRunStatus) -> RunState:
    """The state that a run's status in Dagster stands for."""
    if status in (DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING):
        return "running"
    return {
        DagsterRunStatus.SUCCESS: "succeeded",
        DagsterRunStatus.FAILURE: "failed",
        DagsterRunStatus.CANCELED: "cancelled",
    }.get(status, "pending")  # type: ignore[return-value]


def read_log(builder: StatusBuilder, entries: Iterable[dg.EventLogEntry]) -> None:
    """Take in the stored events of a run."""
    for entry in entries:
        if entry.dagster_event is not None:
            builder.add(entry.dagster_event, entry.timestamp)


def settle(builder: StatusBuilder, record: dg.RunRecord) -> None:
    """Bring the status of the run itself in line with its record.

    The record must have been read before the events: then all of them are there when it has ended.
    """
    status = builder.status
    status.state = run_state_of(record.dagster_run.status)
    status.created_at = record.create_timestamp.timestamp()
    status.started_at = status.started_at or record.start_time
    if status.state in ("pending", "running"):
        # An event is stored just before the record that it changes.
        status.state = "running" if status.started_at else status.state
        status.ended_at = None
    else:
        last = max((step.ended_at or 0.0 for step in status.steps.values()), default=0.0)
        status.ended_at = (
            status.ended_at or record.end_time or last or record.update_timestamp.timestamp()
        )
        builder.finish(status.ended_at)
