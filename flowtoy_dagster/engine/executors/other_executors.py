"""Executors that are not flowtoy's own, made to keep the rules of the language (9.7).

An executor of Dagster, or of another package, asks a plan which steps may start. Here it is given
a plan that can halt, and in which a step waits for outputs alone. One that looks for steps in a
way of its own can't be given that, and the run fails before a step has started.
"""

import copy
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import dagster as dg
from dagster import DagsterEvent, JobDefinition

from flowtoy_dagster.engine.dagster_private.execution import (
    ExecutionPlan,
    PlanOrchestrationContext,
    RetryMode,
)
from flowtoy_dagster.engine.executors.scheduling.dagster_executors import (
    HaltingInProcessExecutor,
    HaltingMultiprocessExecutor,
    execute_in_process,
)
from flowtoy_dagster.engine.executors.scheduling.halting import FLOW_EXECUTION, HaltingExecution
from flowtoy_dagster.engine.executors.scheduling.plan import HaltingPlan
from flowtoy_dagster.engine.executors.scheduling.rebound import rebound
from flowtoy_dagster.engine.executors.warm.executor import WarmExecutor
from flowtoy_dagster.errors import RunError

Around = Callable[[dg.Executor], dg.Executor]
_OWN = (WarmExecutor, HaltingInProcessExecutor, HaltingMultiprocessExecutor)
_SCHEDULING = {"ActiveExecution", "inprocess_execution_iterator"}
"""By what names executors start a plan, if not by the plan's own `start`."""


def keeping_the_rules(
    definition: dg.ExecutorDefinition, around: Around | None = None
) -> dg.ExecutorDefinition:
    """The same executor, with the same configuration, for runs of flows.

    Args:
        definition: the executor.
        around: makes another executor of the one that is made.

    Raises:
        TypeError: it is no executor.
    """
    if isinstance(definition, dg.Executor):
        definition = dg.ExecutorDefinition.hardcoded_executor(definition)
    if not isinstance(definition, dg.ExecutorDefinition) or not definition.executor_creation_fn:
        raise TypeError(
            "'executor' must be an executor of Dagster, such as dagster.in_process_executor, "
            f"got {definition!r}"
        )
    make = definition.executor_creation_fn

    def create(context: dg.InitExecutorContext) -> dg.Executor:
        executor = make(context)
        kept = executor if isinstance(executor, _OWN) else _RuleKeeper(executor)
        return around(kept) if around is not None else kept

    return dg.ExecutorDefinition(
        name=definition.name,
        config_schema=cast(Any, definition.config_schema),
        requirements=definition.get_requirements,
        executor_creation_fn=create,
        description=definition.description,
    )


class _RuleKeeper(dg.Executor):
    """Another executor, which is given a plan that keeps the rules."""

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    @property
    def retries(self) -> RetryMode:
        return self._executor.retries

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        plan = HaltingPlan._make(execution_plan)
        execute = type(self._executor).execute
        is_function = isinstance(execute, types.FunctionType)
        names = set(execute.__code__.co_names) & _SCHEDULING if is_function else set()
        if "ActiveExecution" in names:
            execute = rebound(execute, ActiveExecution=HaltingExecution)
        if "inprocess_execution_iterator" in names:
            execute = partial(execute_in_process, execute)
        for event in execute(self._executor, plan_context, plan):
            if event.step_key is not None and not (names or plan.started):
                raise RunError(
                    f"the executor {type(self._executor).__name__} can't run flows: it decides by "
                    "itself which steps start, and would go on after a failure that halts the run"
                )
            yield event


class FlowJob(JobDefinition):
    """A flow's job: `execute_in_process` keeps the rules of the language too."""

    _around: "Around | None" = None

    @classmethod
    def of(cls, job: JobDefinition, around: "Around | None" = None) -> "FlowJob":
        """The same job; Dagster makes jobs of its own class alone, also of jobs of another.

        Args:
            job: the job.
            around: makes another executor of that of `execute_in_process`.
        """
        made = cast(FlowJob, copy.copy(job))
        made.__class__ = cls
        made._around = around
        return made

    def as_ephemeral_job(self, *args: Any, **kwargs: Any) -> JobDefinition:
        """The job that `execute_in_process` runs: with an executor of its own."""
        return super().as_ephemeral_job(*args, **kwargs).with_executor_def(
            keeping_the_rules(_IN_PROCESS, self._around)
        )

    def _copy(self, **kwargs: Any) -> JobDefinition:
        return FlowJob.of(super()._copy(**kwargs), self._around)


# `execute_in_process` takes no notice of how the job's executor is configured.
_IN_PROCESS = dg.ExecutorDefinition(
    name="in_process",
    config_schema=dg.Field(dg.Permissive(), is_required=False, default_value={}),
    executor_creation_fn=lambda _: HaltingInProcessExecutor(**FLOW_EXECUTION),
)
