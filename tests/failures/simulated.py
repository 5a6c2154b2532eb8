"""A run without processes, database and engine: the program's scheduling and its ops, driven by
hand, so that thousands of flows can be tried, with their steps ending in any order.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
from dagster import DagsterRunStatus
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.context.system import IStepContext
from dagster._core.execution.plan.outputs import StepOutputHandle
from dagster._core.execution.retries import RetryMode

from flowtoy_dagster.definitions import build_job
from flowtoy_dagster.engine.executors.scheduling.halting import HaltingExecution
from flowtoy_dagster.engine.jobs.dagster_names import step_keys
from flowtoy_dagster.engine.jobs.ops import StepCompute, input_name
from flowtoy_dagster.flow.graph import Flow, Step, has_tolerant_dependents
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
from flowtoy_dagster.steps.context import Host
from flowtoy_dagster.store.record import StepRecord
from flowtoy_dagster.store.records import RecordStore, records_of

RUN_ID = "11111111-1111-4111-8111-111111111111"
_SILENT = logging.getLogger("flowtoy.simulated")
_SILENT.propagate = False
_SILENT.disabled = True


class _Log:
    """Takes what is logged, and drops it."""

    def info(self, *args: object, **more: object) -> None:
        """Drop a line."""

    error = log_dagster_event = info


class _StepContext(IStepContext):
    """What an execution needs of a step to make an event of it."""

    log = _Log()
    job_name = "simulated"
    event_tags: Mapping[str, str] = {}
    step: Any = None

    def __init__(self, step: Any) -> None:
        self.step = step


_StepContext.__abstractmethods__ = frozenset()


class SimulatedRun:
    """A run of a flow, whose steps are run one after another and end in an order of choice.

    Args:
        flow: what to run.
        folder: where the records of its steps are kept.
        limit: how many steps are under way at once.
        choose: picks which of the steps that are under way ends next.
        interrupted_after: how many steps have ended when the run is interrupted; None is never.

    Attributes:
        happened: what happened, in order: `starts` and `ends` of a step, `interrupted` once.
        states: the state of each step.
        facts: what `run.failed` and `run.state` were for the steps that say so.
    """

    def __init__(
        self,
        flow: Flow,
        folder: Path,
        limit: int,
        choose: Callable[[Sequence[str]], str],
        interrupted_after: int | None = None,
    ) -> None:
        self._flow = flow
        self._choose = choose
        self._limit = limit
        self._interrupted_after = interrupted_after
        self._keys = step_keys(step.name for step in flow.steps)
        self._names = {key: name for name, key in self._keys.items()}
        self._records: RecordStore = records_of(str(folder / "storage"))
        self._run = SimpleNamespace(
            run_id=RUN_ID, root_run_id=None, parent_run_id=None, tags={}, run_config={},
            status=DagsterRunStatus.STARTED,
        )
        self._instance = SimpleNamespace(
            event_log_storage=SimpleNamespace(),
            get_run_by_id=lambda run_id: self._run, add_run_tags=lambda run_id, tags: None,
            get_run_record_by_id=lambda run_id: None, all_logs=lambda run_id, of_type: [],
            root_directory=str(folder), compute_log_manager=None,
        )
        self._secrets = FlowSecrets(flow)
        self._attempts: Counter[str] = Counter()
        self._ended = 0
        self.happened: list[tuple[str, str]] = []
        self.states = {step.name: "skipped" for step in flow.steps}
        self.facts: dict[str, Any] = {}

    def carry_out(self) -> None:
        """Run it to its end."""
        plan = create_execution_plan(build_job(self._flow))
        under_way: list[str] = []
        for_events: Any = SimpleNamespace(
            for_step=_StepContext, instance=self._instance, dagster_run=self._run
        )
        with HaltingExecution(
            plan, retry_mode=RetryMode.ENABLED, max_concurrent=self._limit
        ) as active:
            while under_way or not active.is_complete:
                for step in active.get_steps_to_execute(limit=self._limit - len(under_way)):
                    under_way.append(step.key)
                    self.happened.append(("starts", self._names[step.key]))
                for _ in active.plan_events_iterator(for_events):
                    pass  # what is skipped
                if under_way and self._ended == self._interrupted_after:
                    self._interrupt(active, under_way)
                elif under_way:
                    key = self._choose(under_way)
                    under_way.remove(key)
                    self._end(active, key)

    def _interrupt(self, active: HaltingExecution, under_way: list[str]) -> None:
        """As the warm executor does: what closes goes on, and the rest ends."""
        self._interrupted_after = None
        self.happened.append(("interrupted", ""))
        self._run.status = DagsterRunStatus.CANCELING
        active.mark_interrupted()
        active.end_early()
        for key in [key for key in under_way if key not in active.closing_keys]:
            under_way.remove(key)
            self._note(key, "interrupted")
            active.mark_failed(key)

    def _end(self, active: HaltingExecution, key: str) -> None:
        step = self._flow.step(self._names[key])
        compute = StepCompute(
            self._flow, step, self._secrets, has_tolerant_dependents(self._flow, step), False
        )
        compute.host, compute.began = _HOST, 0.0
        inputs: dict[str, Callable[[], StepRecord]] = {
            input_name(self._flow.step(name)): partial(
                self._records.step, RUN_ID, self._keys[name]
            )
            for name in step.upstream
        }
        try:
            for made in compute(self._op_context(key), inputs):
                if isinstance(made, dg.Output):
                    active.mark_step_produced_output(StepOutputHandle(key, made.output_name))
        except dg.RetryRequested:
            self._attempts[key] += 1
            active.mark_up_for_retry(key)
            return
        except dg.Failure:
            self._take_in(step, key)
            active.mark_failed(key)
        else:
            self._take_in(step, key)
            active.mark_success(key)
        self._ended += 1

    def _take_in(self, step: Step, key: str) -> None:
        record = self._records.read(RUN_ID, key)
        assert record is not None, step.name
        self._note(key, "unwanted" if record.state == "skipped" else record.state)
        if "facts" in record.outputs:
            self.facts[step.name] = record.outputs["facts"]

    def _note(self, key: str, state: str) -> None:
        self.states[self._names[key]] = state
        self.happened.append(("ends", self._names[key]))

    def _op_context(self, key: str) -> Any:
        manager = SimpleNamespace(store=self._records)
        return SimpleNamespace(
            run_id=RUN_ID, run=self._run, retry_number=self._attempts[key], log=_SILENT,
            op_handle=SimpleNamespace(name=key), instance=self._instance,
            resources=SimpleNamespace(io_manager=manager),
            get_step_execution_context=threading.local,
        )


_HOST = Host()
