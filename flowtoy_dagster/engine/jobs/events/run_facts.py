"""The state of an active run; steps that left no record of their end (language 19.3)."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster import DagsterRunStatus

from flowtoy_dagster.engine.jobs.dagster_names import step_keys
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.store.record import MissingRecordError, StepRecord
from flowtoy_dagster.store.records import RecordStore

_CANCELLED = (DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED)


class RunFacts:
    """What `run.failed` and `run.state` give; read when a template asks.

    Args:
        context: of an op of the run.
        flow: what is run.
        store: where the run's records are.
    """

    def __init__(self, context: dg.OpExecutionContext, flow: Flow, store: RecordStore) -> None:
        self._instance = context.instance
        self._run_id = context.run_id
        self._flow = flow
        self._store = store

    def failed(self) -> list[str]:
        """The names of the steps that have failed so far, in file order."""
        keys = step_keys(step.name for step in self._flow.steps)
        records = {name: self._store.read(self._run_id, key) for name, key in keys.items()}
        lost = self._failures() if None in records.values() else {}
        return [
            name for name, record in records.items()
            if (record.state == "failed" if record is not None else keys[name] in lost)
        ]

    def state(self) -> str:
        """`cancelled` where the run is, else `failed` or `succeeded`, by what has ended so far."""
        if self.is_cancelled():
            return "cancelled"
        failed = (self._flow.step(name) for name in self.failed())
        return "failed" if any(step.on_error == "fail" for step in failed) else "succeeded"

    def ended(self, records: Mapping[str, StepRecord]) -> dict[str, StepRecord]:
        """The records of steps that have ended, with what stands for those that left none.

        Args:
            records: by the names of the steps.
        """
        missing = [name for name, record in records.items() if not _is_there(record)]
        if not missing:
            return dict(records)
        keys, reasons = step_keys(step.name for step in self._flow.steps), self._failures()
        return {**records, **{name: _stand_in(reasons.get(keys[name])) for name in missing}}

    def _failures(self) -> dict[str, str]:
        """Why the steps failed of which the run's history has a failure, by their keys."""
        logs = self._instance.all_logs(self._run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        events = (log.dagster_event for log in logs)
        return {
            event.step_key: _reason_of(event)
            for event in events if event is not None and event.step_key is not None
        }

    def is_cancelled(self) -> bool:
        """Whether the run is being ended from outside."""
        run = self._instance.get_run_by_id(self._run_id)
        return run is not None and run.status in _CANCELLED


class _NoRecord(StepRecord):
    """Stands for the record of a step that left none: it never started, or was interrupted."""

    def __init__(self, state: str, error: str) -> None:
        super().__init__(_no_file, "")
        self._how = {"state": state, "error": error}

    @property
    def header(self) -> dict[str, Any]:
        """What the record would begin with."""
        return {
            **self._how, "success": False, "code": None,
            "notes": [], "hidden": [], "secrets": [], "sizes": {},
        }

    def _line(self, number: int) -> dict[str, Any]:
        return {}


def _stand_in(reason: str | None) -> StepRecord:
    """What stands for the record of a step that failed for a reason, or never ran without one."""
    if reason is None:
        return _NoRecord("skipped", "it did not run")
    return _NoRecord("failed", reason)


def _no_file() -> Any:
    raise FileNotFoundError


def _reason_of(event: dg.DagsterEvent) -> str:
    told = event.step_failure_data.user_failure_data
    reason = told.metadata.get("reason") if told is not None else None
    return reason.value if isinstance(reason, dg.TextMetadataValue) else "interrupted"


def _is_there(record: StepRecord) -> bool:
    try:
        record.header  # noqa: B018 - reads and checks it
    except MissingRecordError:
        return False
    return True
