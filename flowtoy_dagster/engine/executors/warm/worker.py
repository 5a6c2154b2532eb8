"""A worker's life: what it receives once, and how it runs one step after another."""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import dagster as dg
from dagster import (
    DagsterEvent,
    DagsterExecutionInterruptedError,
    DagsterInstance,
    DagsterLogManager,
    DagsterRun,
    MetadataValue,
)

from flowtoy_dagster.engine.dagster_private.execution import (
    ExecuteRunWithPlanIterable,
    ExecutionPlan,
    ExecutionStep,
    InstanceRef,
    KnownExecutionState,
    PastExecutionState,
    ReconstructableJob,
    RepositoryLoadData,
    ResolvedRunConfig,
    RetryMode,
    StepHandle,
    StepOutputHandle,
    create_execution_plan,
    inner_plan_execution_iterator,
    serializable_error_info_from_exc_info,
)
from flowtoy_dagster.engine.executors.hosted import HostedCompute
from flowtoy_dagster.engine.executors.scheduling.halting import is_of_flow
from flowtoy_dagster.engine.executors.scheduling.width import steps_at_once
from flowtoy_dagster.engine.executors.warm.contexts.step_contexts import StepContexts
from flowtoy_dagster.engine.executors.warm.process_reset import Isolation
from flowtoy_dagster.engine.executors.warm.reports import Reports
from flowtoy_dagster.engine.fence import Fence
from flowtoy_dagster.engine.storage.instances import QuietInstance, event_log_of, steady_instance
from flowtoy_dagster.engine.storage.logs.compute_logs import DirectComputeLogManager
from flowtoy_dagster.engine.storage.logs.console_log import configure_log
from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.machine.working_directory import working_directory
from flowtoy_dagster.providers.process_tree import adopt_orphans
from flowtoy_dagster.steps.context import Host
from flowtoy_dagster.steps.state.deadline import exit_uninterruptible
from flowtoy_dagster.terminal import say

_ORPHAN_GRACE = 2.5
"""Seconds between TERM and KILL for commands whose run is gone."""
STEPS_BEFORE_RENEWAL = 500
"""Steps after which a worker is replaced, so that what providers leak stays bounded."""


class Surroundings(NamedTuple):
    """Where a worker runs steps; the first that it is sent, perhaps before there is a run."""

    instance: InstanceRef
    environment: Mapping[str, str]
    directory: str | None

    @classmethod
    def of_here(cls, instance: DagsterInstance) -> "Surroundings":
        """Those of this process."""
        return cls(instance.get_ref(), dict(os.environ), working_directory())


class WorkerSetup(NamedTuple):
    """What all steps of a run have in common; sent to a worker once.

    Attributes:
        surroundings: what the worker was sent before.
        began: when the run began, by the monotonic clock, which all processes of a machine share.
    """

    surroundings: Surroundings
    job: ReconstructableJob
    run: DagsterRun
    retry_mode: RetryMode
    repository_load_data: RepositoryLoadData | None
    parent_state: PastExecutionState | None
    began: float


class StepTask(NamedTuple):
    """What one step must know besides its key.

    Attributes:
        attempts: how often it was tried before.
        lost: why the worker that tried it is gone; then the step is to be failed, not run.
        dynamic_mappings: what dynamic outputs have been resolved to; flows have none.
        ready_outputs: which of the outputs that it takes in are there; an input that takes in
            several leaves out those that are not.
        fence: by what the step is held where other machines may run it, too.
    """

    attempts: int = 0
    lost: str | None = None
    dynamic_mappings: Mapping[str, Any] = {}
    ready_outputs: frozenset[StepOutputHandle] = frozenset()
    fence: Fence | None = None


class WholePlan:
    """What takes time in proportion to the flow, and is the same for all its steps.

    Args:
        definition: the job.
        run_config: the run's configuration, in Dagster's sense.
        load_data: what the job's repository was loaded with.
    """

    def __init__(
        self,
        definition: dg.JobDefinition,
        run_config: Mapping[str, Any],
        load_data: RepositoryLoadData | None = None,
    ) -> None:
        self.definition = definition
        self.run_config = run_config
        self.resolved = ResolvedRunConfig.build(definition, run_config)
        self.plan = ExecutionPlan.build(
            definition, self.resolved, repository_load_data=load_data
        )

    def fits(self, definition: dg.JobDefinition, run_config: Mapping[str, Any]) -> bool:
        """Whether this is what a run of that job with that configuration needs."""
        return definition is self.definition and run_config == self.run_config


_prepared: list[WholePlan] = []


def prepare(definition: dg.JobDefinition, run_config: Mapping[str, Any]) -> None:
    """Make the plan in the process from which workers will be forked: they all share it."""
    _prepared[:] = [WholePlan(definition, run_config)]


def prepared_plan(
    definition: dg.JobDefinition, run_config: Mapping[str, Any]
) -> ExecutionPlan | None:
    """The prepared plan, if it is that of a run of this job with this configuration."""
    return next((w.plan for w in _prepared if w.fits(definition, run_config)), None)


def prepared_width(limit: int) -> int:
    """How many steps of the prepared plan may run at once, `limit` at the most; 0 without one."""
    return max((steps_at_once(whole.plan.get_executable_step_deps(), limit)
                for whole in _prepared), default=0)


def main(descriptor: int) -> None:
    """Run steps until the parent closes the connection."""
    connection = Connection(descriptor)
    try:
        around: Surroundings = connection.recv()
    except EOFError:
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    host = Host(give_up=exit_uninterruptible)
    signal.signal(signal.SIGTERM, lambda *_: _end_at_once(host))
    threading.Thread(target=_watch_parent, args=(descriptor, host), daemon=True).start()
    adopt_orphans()
    os.environ.clear()
    os.environ.update(around.environment)
    if around.directory is not None:
        with contextlib.suppress(OSError):  # deleted since; commands report it where they need it
            os.chdir(around.directory)
    configure_log()
    # A parent that is gone reads no more: nobody is left to report to.
    with contextlib.suppress(BrokenPipeError, EOFError), opened_instance(around) as instance:
        logs = instance.compute_log_manager
        if isinstance(logs, DirectComputeLogManager):
            logs.keep_pump()
        setup: WorkerSetup = connection.recv()
        if isinstance(instance, QuietInstance):
            instance.remember_clock(setup.run)
        reports = Reports(connection)
        _serve(reports, _Worker(setup, instance, host, reports))


def opened_instance(around: Surroundings) -> DagsterInstance:
    """Dagster's instance for a worker; where there is none, the worker ends with the reason."""
    try:
        return steady_instance(around.instance)
    except HomeError as error:
        say(f"error: {error}")
        raise SystemExit(error.exit_code) from None


def _serve(reports: Reports, worker: "_Worker") -> None:
    """Run the steps that come, until the parent has no more or the worker has had enough."""
    for count in range(1, STEPS_BEFORE_RENEWAL + 1):
        try:
            step_key, task = reports.next_step()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        error, retiring = None, count == STEPS_BEFORE_RENEWAL
        try:
            try:
                for event in worker.run(step_key, task):
                    reports.tell(event)
            finally:
                reports.store()
        except (KeyboardInterrupt, DagsterExecutionInterruptedError):
            error, retiring = serializable_error_info_from_exc_info(sys.exc_info()), True
        except BaseException:  # noqa: BLE001 - the parent decides what becomes of it
            error = serializable_error_info_from_exc_info(sys.exc_info())
        reports.end(error, retiring or worker.tainted)
        if retiring or worker.tainted:
            return


def _end_at_once(host: Host) -> None:
    host.processes.close(0)
    os._exit(128 + signal.SIGTERM)


def _watch_parent(descriptor: int, host: Host) -> None:
    """End this worker and its commands when the parent is gone, however it went."""
    poll = select.poll()
    poll.register(descriptor, getattr(select, "POLLRDHUP", select.POLLHUP))
    poll.poll()
    host.cancelled.set()
    host.processes.close(_ORPHAN_GRACE)
    os._exit(0)


class _Worker:
    def __init__(
        self, setup: WorkerSetup, instance: DagsterInstance, host: Host, reports: Reports
    ) -> None:
        self.setup = setup
        self.host = host
        self.reports = reports
        self.instance = instance
        around = setup.surroundings
        self._isolation = Isolation(around.environment, around.directory)

    @property
    def tainted(self) -> bool:
        """Whether a step has left behind what can't be undone."""
        return self._isolation.tainted

    @cached_property
    def _log(self) -> DagsterLogManager:
        return DagsterLogManager.create(
            loggers=[], instance=self.instance, dagster_run=self.setup.run
        )

    @cached_property
    def job(self) -> ReconstructableJob:
        """The job, with what it was loaded with."""
        return self.setup.job.with_repository_load_data(self.setup.repository_load_data)

    @cached_property
    def whole(self) -> "WholePlan":
        """The plan of all steps, from before the fork where it was made there."""
        definition = self.job.get_definition()
        if _prepared and _prepared[0].fits(definition, self.setup.run.run_config):
            return _prepared[0]
        return WholePlan(definition, self.setup.run.run_config, self.setup.repository_load_data)

    @cached_property
    def of_flow(self) -> bool:
        """Whether the steps are a flow's, of which less is reported than of others."""
        return is_of_flow(self.whole.plan)

    @cached_property
    def _contexts(self) -> StepContexts:
        setup = self.setup
        return StepContexts(
            self.job,
            setup.run,
            self.instance,
            setup.retry_mode.for_inner_plan(),
            self.whole.resolved,
            of_flow=self.of_flow,
        )

    def run(self, step_key: str, task: StepTask) -> Iterator[DagsterEvent]:
        """The events of one step, as Dagster's own worker process would give them."""
        with self._isolation:
            host = self._fenced(replace(self.host, lost=task.lost), task.fence)
            if task.fence is not None or not self.of_flow:
                yield self._started(step_key)
            if self.of_flow:
                self.reports.in_groups(event_log_of(self.instance))
            plan = self._plan_for(step_key, task)
            self._host_step(step_key, host, self.setup.began)
            yield from ExecuteRunWithPlanIterable(
                plan, inner_plan_execution_iterator, self._contexts.of(plan)
            )

    def _started(self, step_key: str) -> DagsterEvent:
        """The event that says which process has taken a step."""
        return DagsterEvent.step_worker_started(
            self._log,
            self.setup.run.job_name,
            message=f'Executing step "{step_key}" in subprocess.',
            metadata={"pid": MetadataValue.text(str(os.getpid()))},
            step_key=step_key,
        )

    def _fenced(self, host: Host, fence: Fence | None) -> Host:
        """The host of a step whose events are stored only as long as it is held."""
        if fence is None:
            return host
        log = event_log_of(self.instance)
        log.fence = fence
        return replace(host, is_wanted=log.is_ours)

    def _host_step(self, step_key: str, host: Host, began: float) -> None:
        """Tell the op of a step of a flow in what process it runs."""
        node = self.whole.definition.graph.node_dict.get(step_key)
        op = node.definition if node is not None else None
        compute = op.compute_fn if isinstance(op, dg.OpDefinition) else None
        if isinstance(compute, HostedCompute):
            compute.host = host
            compute.began = began
            compute.tell = self.reports.tell
            compute.begin = self.reports.flush

    def _plan_for(self, step_key: str, task: StepTask) -> ExecutionPlan:
        """The plan of one step, taken out of the whole plan, which is built once."""
        known_state = KnownExecutionState(
            previous_retry_attempts={step_key: task.attempts} if task.attempts else {},
            dynamic_mappings=dict(task.dynamic_mappings),
            ready_outputs=set(task.ready_outputs),
            parent_state=self.setup.parent_state,
        )
        plan = self.whole.plan
        handle = StepHandle.parse_from_key(step_key)
        if isinstance(handle, StepHandle) and isinstance(
            plan.step_dict.get(handle), ExecutionStep
        ):
            return plan._replace(
                step_handles_to_execute=[handle],
                executable_map={step_key: handle},
                resolvable_map={},
                known_state=known_state,
            )
        return create_execution_plan(
            job=self.setup.job,
            run_config=self.setup.run.run_config,
            step_keys_to_execute=[step_key],
            known_state=known_state,
            repository_load_data=self.setup.repository_load_data,
        )
