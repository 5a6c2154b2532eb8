"""The state of an active run; steps that may never have run (language 19.3)."""

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
        found = []
        for name, key in keys.items():
            record = self._store.read(self._run_id, key)
            if record is not None and record.state == "failed":
                found.append(name)
        return found

    def state(self) -> str:
        """`cancelled` where the run is, else `failed` or `succeeded`, by what has ended so far."""
        if self.is_cancelled():
            return "cancelled"
        failed = (self._flow.step(name) for name in self.failed())
        return "failed" if any(step.on_error == "fail" for step in failed) else "succeeded"

    def is_cancelled(self) -> bool:
        """Whether the run is being ended from outside."""
        run = self._instance.get_run_by_id(self._run_id)
        return run is not None and run.status in _CANCELLED


class NeverRan(StepRecord):
    """Stands for the record of a step that left none: it never started, or was interrupted."""

    def __init__(self) -> None:
        super().__init__(_no_file, "")

    @property
    def header(self) -> dict[str, Any]:
        """What the record would begin with."""
        return {
            "state": "skipped", "error": "it did not run", "success": False, "code": None,
            "notes": [], "hidden": [], "secrets": [], "sizes": {},
        }

    def _line(self, number: int) -> dict[str, Any]:
        return {}


def _no_file() -> Any:
    raise FileNotFoundError


def or_never_ran(record: StepRecord) -> StepRecord:
    """A record, or what stands for it where there is none."""
    try:
        record.header  # noqa: B018 - reads and checks it
    except MissingRecordError:
        return NeverRan()
    return record

