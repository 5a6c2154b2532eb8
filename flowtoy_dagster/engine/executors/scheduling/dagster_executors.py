"""Dagster's multiprocess and in-process executors, with runs that can halt."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from multiprocessing import forkserver, resource_tracker
from typing import Any

from dagster import (
    DagsterEvent,
    DagsterExecutionInterruptedError,
    DagsterInstance,
    DagsterLogManager,
    DagsterRun,
)

from flowtoy_dagster.engine.dagster_private.execution import (
    EngineEventData,
    ExecutionPlan,
    ExecutionStep,
    InProcessExecutor,
    MultiprocessExecutor,
    MultiprocessExecutorChildProcessCommand,
    PlanExecutionContext,
    PlanOrchestrationContext,
    in_process,
    multiprocess,
)
from flowtoy_dagster.engine.executors.scheduling.cancel_requests import CancelRequests
from flowtoy_dagster.engine.executors.scheduling.closing import (
    SparedSteps,
    always_steps,
    with_closing_steps,
)
from flowtoy_dagster.engine.executors.scheduling.halting import HaltingExecution
from flowtoy_dagster.engine.executors.scheduling.own_process import (
    Interrupts,
    OwnProcessPlan,
    iterate_steps,
)
from flowtoy_dagster.engine.executors.scheduling.rebound import rebound
from flowtoy_dagster.engine.executors.scheduling.steady_waits import SteadyClaims

_OF_GROUPS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
"""What a terminal, or `timeout`, sends to all processes of a group to end it."""
_INTERRUPTS = (DagsterExecutionInterruptedError, KeyboardInterrupt)
_STOPPED = "In this process: received termination signal - only steps that run in any case start"


def execute_in_process(
    function: Callable[..., Iterator[DagsterEvent]],
    executor: Any,
    plan_context: PlanOrchestrationContext,
    execution_plan: ExecutionPlan,
) -> Iterator[DagsterEvent]:
    """What an executor gives that executes a plan in this process, for runs that can halt.

    Dagster makes the resources of the run before it asks for a step. Where an interrupt breaks that
    off, no step has started, and the closing steps are executed as they are after it.

    Args:
        function: the method `execute` of the executor, which calls Dagster's own loop by its name.
        executor: the executor.
        plan_context: the run.
        execution_plan: the plan.
    """
    part: Any = OwnProcessPlan._make(execution_plan)
    is_prepared = False

    def iterate(job_context: PlanExecutionContext, execution_plan: Any) -> Iterator[DagsterEvent]:
        nonlocal is_prepared
        is_prepared = True
        with CancelRequests(job_context.instance, job_context.dagster_run).as_signals():
            yield from with_closing_steps(
                lambda some: _iterate_in_process(job_context, some, interrupts), part, _INTERRUPTS
            )

    execute = rebound(function, inprocess_execution_iterator=iterate)
    with closing(Interrupts(part)) as interrupts:
        try:
            yield from execute(executor, plan_context, part)
        except _INTERRUPTS:
            if is_prepared:
                raise
            interrupts.begin_end()
            interrupts.take_new()
            yield _stopped(plan_context, interrupts)
            part = always_steps(part, started=set())
            if part is not None:
                yield from execute(executor, plan_context, part)
            raise


assert "inprocess_execution_iterator" in vars(in_process)


def _stopped(
    context: PlanOrchestrationContext | PlanExecutionContext, interrupts: Interrupts
) -> DagsterEvent:
    """The event of a run that is being ended."""
    closing_keys = EngineEventData.interrupted(list(interrupts.closing))
    return DagsterEvent.engine_event(context, _STOPPED, closing_keys)


def _iterate_in_process(
    job_context: PlanExecutionContext, plan: OwnProcessPlan, interrupts: Interrupts
) -> Iterator[DagsterEvent]:
    plan.interrupts = interrupts
    was_ended = interrupts.has_begun
    with SteadyClaims(job_context.instance, job_context.dagster_run) as claims:
        try:
            yield from iterate_steps(interrupts, job_context, plan, claims)
        except _INTERRUPTS:
            interrupts.begin_end()
            interrupts.take_new()
            if not was_ended:
                yield _stopped(job_context, interrupts)
            raise


def _quiet_log_manager(instance: DagsterInstance, run: DagsterRun) -> DagsterLogManager:
    """A log manager that stores events and repeats none on the console, among our progress."""
    return DagsterLogManager.create(loggers=[], instance=instance, dagster_run=run)


def _start_fork_server(modules: Sequence[str]) -> None:
    """Start the process that steps are forked from, which the end of its group does not end.

    Without it nobody would know what became of the steps. It ends when the run's process does.
    """
    # Dagster's own first module, without which it would ask for another list.
    forkserver.set_forkserver_preload([multiprocess.__name__, *modules])
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_GROUPS)
    try:
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, _OF_GROUPS)  # it has unblocked some of them
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _QuietCommand(MultiprocessExecutorChildProcessCommand):
    def execute(self) -> Iterator[DagsterEvent]:
        # A signal may come to all processes of the group. The run's process alone decides what
        # ends: a second interrupt here would break off the end of what the step has started.
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_GROUPS)
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
    yield next(begun)
    # The event is stored before the process starts. An interrupt meanwhile has ended the processes
    # that are listed; this one, started after it, would go on to its end.
    if not spared.is_ended(step.key):
        yield from begun


class _SparingExecution(HaltingExecution):
    def __init__(
        self, spared: SparedSteps, requests: CancelRequests, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._spares = spared
        self._requests = requests
        self._is_over = False

    def check_for_interrupts(self) -> bool:
        interrupted, was_over = super().check_for_interrupts(), self._is_over
        interrupted = interrupted or self._requests.heard()
        self._is_over = self._spares.look(interrupted)
        return interrupted or (self._is_over and not was_over)


class HaltingMultiprocessExecutor(MultiprocessExecutor):
    """Dagster's multiprocess executor, a process for each step, with runs that can halt."""

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        chosen = multiprocessing.get_start_method(allow_none=True)
        spared = SparedSteps(execution_plan)
        requests = CancelRequests(plan_context.instance, plan_context.dagster_run)
        # The loop over the processes of a run creates its scheduler and its claims by these names.
        execute = rebound(
            MultiprocessExecutor.execute,
            ActiveExecution=partial(_SparingExecution, spared, requests),
            InstanceConcurrencyContext=SteadyClaims,
            execute_step_out_of_process=partial(_begin_step, spared),
        )
        try:
            if self._start_method == "forkserver":
                _start_fork_server(self._explicit_forkserver_preload or ())
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

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        yield from execute_in_process(
            InProcessExecutor.execute, self, plan_context, execution_plan
        )
