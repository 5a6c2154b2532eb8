"""Dagster's scheduling with two rules of the language: a run can halt, and a step waits for the
end of the steps before it, not only for their outputs.

`HaltingExecution` is Dagster's `ActiveExecution` with these rules; where no op is tagged with
`HALT_TAG`, it decides as its parent does.
"""

import logging
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterExecutionInterruptedError,
    DagsterInstance,
    DagsterLogManager,
    DagsterRun,
)

from flowtoy_dagster.engine.dagster_private.execution import (
    ActiveExecution,
    ExecutionPlan,
    ExecutionStep,
    InProcessExecutor,
    IStepContext,
    MultiprocessExecutor,
    MultiprocessExecutorChildProcessCommand,
    PlanExecutionContext,
    PlanOrchestrationContext,
    RetryMode,
    StepDependencyConfig,
    StepOutputHandle,
    _pool_key_for_step,
    in_process,
    inner_plan_execution_iterator,
    multiprocess,
)
from flowtoy_dagster.engine.executors.closing import ClosingSteps, SparedSteps, with_closing_steps
from flowtoy_dagster.engine.executors.rebound import rebound
from flowtoy_dagster.engine.executors.steady_waits import (
    SteadyClaims,
    SteadyExecution,
    give_up_claims,
)
from flowtoy_dagster.engine.tags import DONE, HALT_TAG, ORDER_TAG, RESULT

_INTERRUPTS = (DagsterExecutionInterruptedError, KeyboardInterrupt)
# A step whose `continue` edges alone lead to a failed one must start.
_OUTPUTS_ALONE = StepDependencyConfig(require_upstream_step_success=False)
FLOW_EXECUTION: dict[str, Any] = {
    "retries": RetryMode.ENABLED,
    "step_dependency_config": _OUTPUTS_ALONE,
}


class HaltingExecution(SteadyExecution):
    """The state of a plan that is being executed; a failed step tagged `HALT_TAG` halts it."""

    halted_by: str | None = None
    _seen: tuple[int, ...] | None = None
    _closing: ClosingSteps | None = None

    def __init__(self, execution_plan: ExecutionPlan, *args: Any, **kwargs: Any) -> None:
        if is_of_flow(execution_plan):
            kwargs["step_dependency_config"] = _OUTPUTS_ALONE
        self._left: list[str] = []
        self._held_back: list[str] = []
        super().__init__(execution_plan, *args, **kwargs)
        # Limits by tag or pool may pass over a step that is ready for one behind it.
        self._chooses_among_ready = bool(self._tag_concurrency_limits) or any(
            _pool_key_for_step(step)
            for step in self._plan.step_dict.values()
            if isinstance(step, ExecutionStep)
        )
        by_priority = self._sort_key_fn
        # Of steps that may start, the one that is written first does.
        self._sort_key_fn: Any = lambda step: (by_priority(step), _place_of(step))
        self._sort_executable()

    def get_steps_to_execute(self, limit: int | None = None) -> Sequence[ExecutionStep]:
        if limit is None or self._chooses_among_ready:
            return super().get_steps_to_execute(limit)
        if limit <= 0:
            return []
        self._update()
        # Dagster looks at every step that is ready; no more than `limit` of them matter.
        later = self._executable[limit:]
        self._executable = self._executable[:limit]
        steps = super().get_steps_to_execute(limit)
        self._executable += later
        return steps

    def mark_failed(self, step_key: str) -> None:
        if self.halted_by is None and HALT_TAG in (self.get_step_by_key(step_key).tags or {}):
            self.halted_by = step_key
        super().mark_failed(step_key)

    def mark_up_for_retry(self, step_key: str, at_time: float | None = None) -> None:
        super().mark_up_for_retry(step_key, at_time)
        self._seen = None  # a retry without a delay is pending again, though nothing has ended

    def _update(self) -> None:
        ended = (len(self._success), len(self._failed), len(self._skipped), len(self._abandoned))
        if self._seen == ended and not self._waiting_to_retry and not self._new_dynamic_mappings:
            return  # nothing has ended since: what could start has been found
        self._seen = ended
        closing = self._take_closing_steps()
        resolved = self._success | self._failed | self._skipped | self._abandoned
        held = {key: deps for key, deps in self._pending.items() if not deps <= resolved}
        for key in held:
            del self._pending[key]
        super()._update()
        self._pending.update(held)
        if closing.waiting:
            start, leave = closing.ready(resolved, self._has_failed, self._is_lost)
            self._executable += start
            self._left += leave
        self._sort_executable()
        if self.halted_by is not None:
            self._hold_back_what_has_not_started()

    def _take_closing_steps(self) -> ClosingSteps:
        """The closing steps, which are not left to Dagster."""
        if self._closing is None:
            self._closing = ClosingSteps(self._plan, self._pending)
            for key in self._closing.keys:
                del self._pending[key]
        return self._closing

    def _is_lost(self, step_key: str) -> bool:
        """Whether a step never started, because of a failure before it or a halt."""
        return step_key in {*self._abandoned, *self._skipped, *self._held_back}

    def end_early(self) -> None:
        """The run was interrupted: of what has not started, only `always` steps are left."""
        closing = self._take_closing_steps()
        attempts = self._retry_state.snapshot_attempts()
        kept = {key for key in closing.always if key in self._executable or attempts.get(key)}
        dropped = closing.keep_always() | {
            key for key in [
                *self._executable, *self._pending, *self._pending_skip, *self._pending_retry,
                *self._pending_abandon, *self._waiting_to_retry, *self._held_back, *self._left,
            ]
            if key not in kept
        }
        # Nothing is stored of them: how the run ended says why they did not run.
        self._skipped |= dropped
        for listed in (
            self._executable, self._pending_skip, self._pending_retry, self._pending_abandon,
            self._held_back, self._left,
        ):
            listed[:] = [key for key in listed if key not in dropped]
        for mapped in (self._pending, self._waiting_to_retry):
            for key in dropped & mapped.keys():
                del mapped[key]
        if self._instance_concurrency_context is not None:
            give_up_claims(self._instance_concurrency_context, dropped)

    @property
    def closing_keys(self) -> frozenset[str]:
        """The keys of the closing steps."""
        return self._closing.keys if self._closing is not None else frozenset()

    def _sort_executable(self) -> None:
        self._executable.sort(key=lambda key: self._sort_key_fn(self.get_step_by_key(key)))

    def _hold_back_what_has_not_started(self) -> None:
        attempts = self._retry_state.snapshot_attempts()
        # A step between two attempts has started; it may finish.
        started = self.closing_keys | {key for key, count in attempts.items() if count}
        waiting = {*self._executable, *self._pending} - started
        spared = self._spared(waiting) | self.closing_keys
        self._held_back += [
            key for key in [*self._executable, *self._pending, *self._pending_abandon]
            if not attempts.get(key) and key not in spared
        ]
        waiting = set(self._held_back)
        self._executable = [key for key in self._executable if key not in waiting]
        self._pending_abandon = [key for key in self._pending_abandon if key not in waiting]
        self._pending = {key: deps for key, deps in self._pending.items() if key not in waiting}
        if self._instance_concurrency_context is not None:
            give_up_claims(self._instance_concurrency_context, waiting)

    def _spared(self, waiting: set[str]) -> set[str]:
        """Of steps that have not started, those that a halt leaves alone (language 9.4).

        They tolerate the failure of a step that they depend on, or of one that may fail still, and
        wait for nothing that the halt keeps from starting.
        """
        ended = self._success | self._failed | self._skipped | self._abandoned
        tried = self._retry_state.snapshot_attempts().keys()
        going_on = (self._in_flight | self.closing_keys | tried) - ended
        spared: set[str] = set()
        while more := {
            key for key in waiting - spared if self._tolerates_a_failure(key, going_on | spared)
        }:
            spared |= more  # it may fail in turn
        while True:
            barred = waiting - spared
            stuck = {key for key in spared if self._pending.get(key, set()) & barred}
            if not stuck:
                return spared
            spared -= stuck

    def _tolerates_a_failure(self, step_key: str, going_on: set[str]) -> bool:
        return any(
            handle.output_name == DONE
            and (self._has_failed(handle.step_key) or handle.step_key in going_on)
            for step_input in self.get_step_by_key(step_key).step_inputs
            for handle in step_input.get_step_output_handle_dependencies()
        )

    def _has_failed(self, step_key: str) -> bool:
        """Whether the step of an op failed; where that is tolerated, the op itself succeeded."""
        if step_key in self._failed:
            return True
        has_result = StepOutputHandle(step_key, RESULT) in self._step_outputs
        return step_key in self._success and not has_result

    @property
    def is_complete(self) -> bool:
        waiting = self._closing.waiting if self._closing is not None else {}
        return super().is_complete and not (self._held_back or self._left or waiting)

    def plan_events_iterator(
        self, job_context: PlanExecutionContext | PlanOrchestrationContext
    ) -> Iterator[DagsterEvent]:
        self._update()
        while self._held_back or self._left:
            reason = "no step that it depends on has failed"
            if self._held_back:
                reason = f'the run was halted when "{self.halted_by}" failed'
            key = (self._held_back or self._left).pop(0)
            self._in_flight.add(key)
            yield _held_back_event(job_context.for_step(self.get_step_by_key(key)), reason)
            self.mark_skipped(key)
            self._update()
        yield from super().plan_events_iterator(job_context)


def _held_back_event(step_context: IStepContext, reason: str) -> DagsterEvent:
    """The event of a step that was not started, for a reason that is not in what it depends on.

    It names its step by the key alone. Where an event has the step's handle, Dagster's
    re-execution from failure takes the step for one that decided to be skipped, and leaves it
    out; a step that was held back must be run then.
    """
    key = step_context.step.key
    event = DagsterEvent(
        event_type_value=DagsterEventType.STEP_SKIPPED.value,
        job_name=step_context.job_name,
        step_kind_value=step_context.step.kind.value,
        logging_tags=step_context.event_tags,
        message=f'Skipped step "{key}": {reason}.',
        pid=os.getpid(),
        step_key=key,
    )
    step_context.log.log_dagster_event(logging.INFO, event.message or "", event)
    return event


def _place_of(step: ExecutionStep) -> int:
    return int((step.tags or {}).get(ORDER_TAG, 0))


def is_of_flow(plan: ExecutionPlan) -> bool:
    """Whether a plan's steps are those of a flow."""
    return any(
        ORDER_TAG in (step.tags or {})
        for step in plan.step_dict.values()
        if isinstance(step, ExecutionStep)
    )


class HaltingPlan(ExecutionPlan):
    """A plan whose execution can halt.

    Attributes:
        started: whether it has been started in the one way that keeps the rules of the language.
    """

    started = False

    def start(self, *args: Any, **kwargs: Any) -> ActiveExecution:
        self.started = True
        return HaltingExecution(self, *args, **kwargs)


def _iterate_with_steady_claims(
    job_context: PlanExecutionContext, execution_plan: ExecutionPlan
) -> Iterator[DagsterEvent]:
    with SteadyClaims(job_context.instance, job_context.dagster_run) as claims:
        yield from inner_plan_execution_iterator(job_context, execution_plan, claims)


def iterate_in_process(
    job_context: PlanExecutionContext, execution_plan: ExecutionPlan
) -> Iterator[DagsterEvent]:
    """Dagster's own function of that purpose, for runs that can halt."""
    plan = HaltingPlan._make(execution_plan)
    yield from with_closing_steps(
        lambda part: _iterate_with_steady_claims(job_context, part), plan, _INTERRUPTS
    )


def _quiet_log_manager(instance: DagsterInstance, run: DagsterRun) -> DagsterLogManager:
    """A log manager that stores events and repeats none on the console, among our progress."""
    return DagsterLogManager.create(loggers=[], instance=instance, dagster_run=run)


class _QuietCommand(MultiprocessExecutorChildProcessCommand):
    def execute(self) -> Iterator[DagsterEvent]:
        # A terminal interrupts all processes of its group. The run's process alone decides what
        # ends: a second interrupt here would break off the end of what the step has started.
        os.setpgid(0, 0)
        yield from self._execute()

    # The child process creates its log manager in the middle of this method, with a console.
    _execute = rebound(
        MultiprocessExecutorChildProcessCommand.execute,
        create_context_free_log_manager=_quiet_log_manager,
    )
    assert "create_context_free_log_manager" in vars(multiprocess)


_begin = rebound(
    multiprocess.execute_step_out_of_process, MultiprocessExecutorChildProcessCommand=_QuietCommand
)


def _begin_step(
    spared: SparedSteps, multiproc: Any, job: Any, step_context: Any, step: ExecutionStep,
    errors: Any, processes: dict[str, Any], *rest: Any,
) -> Iterator[DagsterEvent | None]:
    """Start a step's process; that of a closing step is not listed where interrupts end them."""
    spared.others = processes
    listed = spared.of_steps if step.key in spared.keys else processes
    begun: Iterator[DagsterEvent | None] = _begin(
        multiproc, job, step_context, step, errors, listed, *rest
    )
    return begun


class _SparingExecution(HaltingExecution):
    def __init__(self, spared: SparedSteps, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._spares = spared
        self._is_over = False

    def check_for_interrupts(self) -> bool:
        interrupted, was_over = super().check_for_interrupts(), self._is_over
        self._is_over = self._spares.look(interrupted)
        return interrupted or (self._is_over and not was_over)


class HaltingMultiprocessExecutor(MultiprocessExecutor):
    """Dagster's multiprocess executor, a process for each step, with runs that can halt."""

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        chosen = multiprocessing.get_start_method(allow_none=True)
        spared = SparedSteps(execution_plan)
        # The loop over the processes of a run creates its scheduler and its claims by these names.
        execute = rebound(
            MultiprocessExecutor.execute,
            ActiveExecution=partial(_SparingExecution, spared),
            InstanceConcurrencyContext=SteadyClaims,
            execute_step_out_of_process=partial(_begin_step, spared),
        )
        try:
            yield from with_closing_steps(
                lambda part: execute(self, plan_context, part), execution_plan, _INTERRUPTS
            )
        finally:
            if chosen is None:
                # Starting a process has chosen one for the whole program.
                multiprocessing.set_start_method(None, force=True)

    assert {"ActiveExecution", "InstanceConcurrencyContext"} <= vars(multiprocess).keys()


class HaltingInProcessExecutor(InProcessExecutor):
    """Dagster's in-process executor, with runs that can halt."""

    # Between two other events, this method calls the one function that takes no scheduler.
    execute = rebound(
        InProcessExecutor.execute, inprocess_execution_iterator=iterate_in_process
    )
    assert "inprocess_execution_iterator" in vars(in_process)
