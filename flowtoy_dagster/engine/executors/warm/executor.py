"""The warm multiprocess executor: Dagster's scheduling, with workers that live as long as the run.

`MultiprocessExecutor.execute` starts a process for each step and asks its children for events one
after another. Both are woven into that one method of 170 lines, so it is restated here rather
than changed from outside: the scheduling (`ActiveExecution`) stays Dagster's, the processes and
the waiting are `WorkerPool`'s.
"""

import os
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import dagster as dg
from dagster import (
    DagsterEvent,
    DagsterExecutionInterruptedError,
    DagsterInstance,
    DagsterRun,
    DagsterSubprocessError,
    multiple_process_executor_requirements,
)

from flowtoy_dagster.engine.dagster_private.execution import (
    EngineEventData,
    ExecutionPlan,
    ExecutionStep,
    FromMultipleSources,
    KnownExecutionState,
    MultiprocessExecutor,
    PlanOrchestrationContext,
    ReconstructableJob,
    RetryMode,
    SerializableErrorInfo,
    StepDependencyConfig,
    StepOutputHandle,
    create_execution_plan,
    execute_run_iterator,
    get_retries_config,
)
from flowtoy_dagster.engine.executors.scheduling.cancel_requests import CancelRequests
from flowtoy_dagster.engine.executors.scheduling.closing import grace_of
from flowtoy_dagster.engine.executors.scheduling.halting import HaltingExecution
from flowtoy_dagster.engine.executors.scheduling.steady_waits import SteadyClaims
from flowtoy_dagster.engine.executors.scheduling.width import steps_at_once
from flowtoy_dagster.engine.executors.warm.forkserver_client import (
    ForkServerError,
    WorkerStartError,
)
from flowtoy_dagster.engine.executors.warm.pool import Pool, Report, StepEvent, StepLost, WorkerPool
from flowtoy_dagster.engine.executors.warm.worker import StepTask, Surroundings, WorkerSetup
from flowtoy_dagster.engine.storage.instances import writing_history
from flowtoy_dagster.engine.tags import STEP_TAG
from flowtoy_dagster.errors import RunError

INTERRUPT_CHECK = 0.25
"""Seconds after which a waiting executor looks whether it was interrupted."""
LONGEST_STOP = 6.5
"""Seconds that steps have to end when the run is interrupted; commands get 5 of them."""
STOP_MESSAGE = "Warm workers: received termination signal - interrupting running steps"
_START_ERRORS = (ForkServerError.__name__, WorkerStartError.__name__)
_INTERRUPTS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


class WarmExecutor(MultiprocessExecutor):
    """Dagster's multiprocess executor on workers that are kept.

    Attributes:
        longest_stop: seconds that steps have to end when the run is interrupted.
        tells_of_handing_over: whether there is an event when a worker is given a flow's step. It
            starts at once here, in a process that is there.
    """

    longest_stop = LONGEST_STOP
    tells_of_handing_over = False

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        yield DagsterEvent.engine_event(
            plan_context,
            f"Executing steps using warm workers: parent process (pid: {os.getpid()})",
            event_specific_data=EngineEventData.multiprocess(
                os.getpid(), step_keys_to_execute=execution_plan.step_keys_to_execute
            ),
        )
        with ExitStack() as stack:
            concurrency = stack.enter_context(
                SteadyClaims(plan_context.instance, plan_context.dagster_run)
            )
            active = stack.enter_context(
                HaltingExecution(
                    execution_plan,
                    retry_mode=self.retries,
                    max_concurrent=self._max_concurrent,
                    tag_concurrency_limits=self._tag_concurrency_limits,
                    instance_concurrency_context=concurrency,
                    step_dependency_config=self.step_dependency_config,
                )
            )
            pool = stack.enter_context(self._pool(plan_context, execution_plan))
            waits = execution_plan.get_executable_step_deps()
            pool.grow(steps_at_once(waits, self._max_concurrent))
            execution = _Execution(self, plan_context, execution_plan, active, pool)
            yield from execution.events(self._max_concurrent)
        yield DagsterEvent.engine_event(
            plan_context,
            f"Warm workers: parent process done (pid: {os.getpid()})",
            event_specific_data=EngineEventData.multiprocess(os.getpid()),
        )

    def _pool(
        self, context: PlanOrchestrationContext, plan: ExecutionPlan
    ) -> AbstractContextManager[Pool]:
        """What runs the steps of a run."""
        return WorkerPool(self._setup(context, plan), self._max_concurrent)

    def _setup(self, context: PlanOrchestrationContext, plan: ExecutionPlan) -> WorkerSetup:
        return WorkerSetup(
            surroundings=Surroundings.of_here(context.instance),
            job=context.reconstructable_job,
            run=context.dagster_run,
            retry_mode=self.retries,
            repository_load_data=plan.repository_load_data,
            parent_state=plan.known_state.parent_state,
            began=time.monotonic(),
        )


class _Execution:
    """One run of a plan: what has been started, and what to make of the workers' reports."""

    def __init__(
        self,
        executor: WarmExecutor,
        context: PlanOrchestrationContext,
        plan: ExecutionPlan,
        active: HaltingExecution,
        pool: Pool,
    ) -> None:
        self._executor = executor
        self._context = context
        self._active = active
        self._pool = pool
        self._requests = CancelRequests(context.instance, context.dagster_run)
        self._stopping = False
        self._is_over = False
        self._deadline = 0.0
        self._grace = grace_of(plan)
        self._end = 0.0
        self._errors: list[SerializableErrorInfo] = []
        self._judged: set[str] = set()
        self._attempts = Counter(plan.known_state.previous_retry_attempts)
        self._dynamic = any(
            not isinstance(step, ExecutionStep) for step in plan.step_dict.values()
        )

    def events(self, limit: int) -> Iterator[DagsterEvent]:
        """Every event of the run's steps, as it comes."""
        while self._pool.busy or not (self._is_over or self._active.is_complete):
            if self._active.check_for_interrupts() or self._requests.heard():
                # A second interrupt means: do not wait.
                yield from self._kill() if self._stopping else self._stop()
            elif self._stopping and time.monotonic() > self._end:
                yield from self._kill()
            elif self._stopping and time.monotonic() > self._deadline:
                yield from self._kill(but=self._active.closing_keys)
            if not self._is_over:
                yield from self._start_steps(limit)
            for report in self._pool.wait(self._patience()):
                yield from self._take_in(report)
            yield from self._active.plan_events_iterator(self._context)
        self._raise_errors()

    def _patience(self) -> float:
        """Seconds to wait for reports before something else may be due."""
        pause = self._active.sleep_interval()
        return min(INTERRUPT_CHECK, pause) if pause > 0 else INTERRUPT_CHECK

    def _stop(self) -> Iterator[DagsterEvent]:
        yield DagsterEvent.engine_event(
            self._context,
            STOP_MESSAGE,
            EngineEventData.interrupted(self._pool.busy),
        )
        self._stopping = True
        self._deadline = time.monotonic() + self._executor.longest_stop
        self._active.mark_interrupted()
        # Steps that run in any case go on, for as long as the run's grace lasts.
        self._active.end_early()
        self._end = time.monotonic() + max(self._grace, self._executor.longest_stop)
        self._pool.interrupt(but=self._active.closing_keys)

    def _kill(self, but: Collection[str] = ()) -> Iterator[DagsterEvent]:
        self._deadline = time.monotonic() + self._executor.longest_stop
        if not but:
            self._is_over, self._end = True, self._deadline
        if set(self._pool.busy) <= set(but):
            return
        yield DagsterEvent.engine_event(
            self._context, "Warm workers: killing running steps", EngineEventData()
        )
        self._pool.kill(but)

    def _start_steps(self, limit: int) -> Iterator[DagsterEvent]:
        while steps := self._active.get_steps_to_execute(limit=limit - len(self._pool.busy)):
            for step in steps:
                if self._executor.tells_of_handing_over or not self._is_our_own(step.key):
                    yield DagsterEvent.step_worker_starting(
                        self._context.for_step(step),
                        f'Handing "{step.key}" to a worker.',
                        metadata={},
                    )
                self._pool.run(step.key, self._task(step.key))
        yield from self._active.concurrency_event_iterator(self._context)

    def _task(self, step_key: str) -> StepTask:
        mappings = self._active.get_known_state().dynamic_mappings if self._dynamic else {}
        return StepTask(
            self._attempts[step_key],
            dynamic_mappings=mappings,
            ready_outputs=self._ready_outputs(self._active.get_step_by_key(step_key)),
        )

    def _ready_outputs(self, step: ExecutionStep) -> frozenset[StepOutputHandle]:
        """Which of the outputs are there that an input of several sources takes in."""
        wanted = {
            handle
            for step_input in step.step_inputs
            if isinstance(step_input.source, FromMultipleSources)
            for handle in step_input.get_step_output_handle_dependencies()
        }
        if not wanted:
            return frozenset()
        return frozenset(wanted & self._active.get_known_state().ready_outputs)

    def _take_in(self, report: Report) -> Iterator[DagsterEvent]:
        if isinstance(report, StepEvent):
            yield from self._take_in_event(report.step_key, report.event)
            return
        if isinstance(report, StepLost):
            judged = report.step_key in self._judged or self._stopping
            if self._is_our_own(report.step_key) and not (judged or report.is_final):
                # Its op knows what follows: whether it is retried, and which steps run without it.
                self._judged.add(report.step_key)
                task = self._task(report.step_key)._replace(lost=report.reason)
                self._pool.run(report.step_key, task)
                return
            yield from self._fail_lost(report)
        elif report.error is not None:
            self._errors.append(report.error)
        # A step whose retry has been handed out already is in flight again, and rightly so.
        if report.step_key not in self._pool.busy:
            self._active.verify_complete(self._context, report.step_key)

    def _is_our_own(self, step_key: str) -> bool:
        return STEP_TAG in (self._active.get_step_by_key(step_key).tags or {})

    def _take_in_event(self, step_key: str, event: DagsterEvent) -> Iterator[DagsterEvent]:
        yield event
        self._active.handle_event(event)
        if event.is_step_up_for_retry:
            self._attempts[step_key] += 1
            self._judged.discard(step_key)
        if event.is_resource_init_failure:
            error = getattr(event.engine_event_data, "error", None)
            assert isinstance(error, SerializableErrorInfo)
            yield from self._fail(step_key, error)

    def _fail_lost(self, lost: StepLost) -> Iterator[DagsterEvent]:
        """Fail the step of a worker that has died; the others go on."""
        reason = "interrupted" if self._stopping else lost.reason
        error = SerializableErrorInfo(reason, [], "WorkerDied")
        yield DagsterEvent.engine_event(
            self._context.for_step(self._active.get_step_by_key(lost.step_key)),
            error.message,
            EngineEventData.engine_error(error),
        )
        yield from self._fail(lost.step_key, error)

    def _fail(self, step_key: str, error: SerializableErrorInfo) -> Iterator[DagsterEvent]:
        context = self._context.for_step(self._active.get_step_by_key(step_key))
        event = self._executor.log_failure_or_retry_event_after_error(
            context, error, self._active.get_known_state()
        )
        if event.is_step_up_for_retry:
            self._attempts[step_key] += 1
        self._active.handle_event(event)
        yield event

    def _raise_errors(self) -> None:
        if self._stopping and all(error.cls_name in _INTERRUPTS for error in self._errors):
            raise DagsterExecutionInterruptedError
        if self._errors:
            texts = "\n".join(error.to_string() for error in self._errors)
            raise DagsterSubprocessError(
                f"Errors in worker processes:\n{texts}", subprocess_error_infos=self._errors
            )


@dg.executor(
    name="warm",
    config_schema={
        "max_concurrent": dg.Field(dg.Noneable(dg.Int), default_value=None, is_required=False),
        "tag_concurrency_limits": dg.Field(
            dg.Noneable(
                dg.Array(
                    dg.Shape(
                        {
                            "key": str,
                            "value": dg.Field(dg.Any, is_required=False),
                            "limit": dg.Field(int),
                        }
                    )
                )
            ),
            default_value=None,
            is_required=False,
        ),
        "retries": get_retries_config(),
        "require_upstream_step_success": dg.Field(dg.Bool, default_value=True, is_required=False),
    },
    requirements=multiple_process_executor_requirements(),
)
def warm_executor(context: dg.InitExecutorContext) -> WarmExecutor:
    """Runs each step in one of a few processes that are kept for the length of the run.

    Configured as Dagster's `multiprocess_executor` is.
    """
    config = context.executor_config
    return WarmExecutor(
        retries=RetryMode.from_config(config["retries"]),  # type: ignore[arg-type]
        max_concurrent=config["max_concurrent"],  # type: ignore[arg-type]
        tag_concurrency_limits=config["tag_concurrency_limits"],  # type: ignore[arg-type]
        step_dependency_config=StepDependencyConfig(
            require_upstream_step_success=bool(config["require_upstream_step_success"])
        ),
    )


def iterate_run(
    job: ReconstructableJob, run: DagsterRun, instance: DagsterInstance
) -> Iterator[DagsterEvent]:
    """Execute a run that was created; gives each event when it has been stored.

    Raises:
        RunError: the events can't be stored, or workers can't be started.
    """
    failure: SerializableErrorInfo | None = None
    with writing_history():
        for event in execute_run_iterator(job, run, instance):
            if event.is_job_failure and event.event_specific_data is not None:
                failure = event.job_failure_data.error
            yield event
    # Dagster has caught it, and made an event of it.
    if failure is not None and failure.cls_name in _START_ERRORS:
        raise RunError(failure.message.strip().partition(": ")[2])


def retry_plan(
    job: ReconstructableJob,
    parent: DagsterRun,
    step_keys: list[str],
    instance: DagsterInstance,
    run_config: Mapping[str, Any],
) -> ExecutionPlan:
    """The plan of a run that executes some steps and takes the others' outputs from `parent`."""
    known_state = KnownExecutionState.build_for_reexecution(instance, parent)
    return create_execution_plan(
        job,
        run_config,
        step_keys_to_execute=step_keys,
        known_state=known_state.update_for_step_selection(step_keys),
        tags=parent.tags,
    )
