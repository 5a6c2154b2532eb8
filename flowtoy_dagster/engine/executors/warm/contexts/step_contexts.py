"""The contexts in which a worker runs steps, each made from what the worker has resolved for all.

Dagster resolves the run's configuration anew for each step, which takes 15 of 27 ms of CPU, makes a
logger for the console and an event loop, and goes through the whole plan to see which resources one
step needs. Its generator has no hook for these, so it runs with pieces in the place of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from dagster import DagsterInstance, DagsterLogManager, DagsterRun

from flowtoy_dagster.engine.dagster_private.execution import (
    ContextCreationData,
    ExecutionContextManager,
    ExecutionPlan,
    PlanExecutionContextManager,
    ReconstructableJob,
    ResolvedRunConfig,
    RetryMode,
    create_log_manager,
    execution_context_event_generator,
    get_required_resource_keys_to_init,
)
from flowtoy_dagster.engine.executors.scheduling.rebound import rebound
from flowtoy_dagster.engine.executors.warm.contexts.event_loops import LoopOnDemand
from flowtoy_dagster.engine.executors.warm.contexts.kept_resources import KeptResources
from flowtoy_dagster.engine.storage.logs.direct_log import direct_log


class StepContexts:
    """Makes the contexts of one run's steps, one after another.

    Args:
        job: the run's job.
        run: the run.
        instance: where its history is.
        retry_mode: how a step that is to be tried again ends.
        resolved: the run's configuration, resolved.
        of_flow: whether the steps are a flow's, which need all the same resources.
    """

    def __init__(
        self,
        job: ReconstructableJob,
        run: DagsterRun,
        instance: DagsterInstance,
        retry_mode: RetryMode,
        resolved: ResolvedRunConfig,
        *,
        of_flow: bool,
    ) -> None:
        self._job = job
        self._run = run
        self._instance = instance
        self._retry_mode = retry_mode
        self._resolved = resolved
        self._of_flow = of_flow
        self._resources = KeptResources() if of_flow else None
        self._keys: Any = None
        self._log: DagsterLogManager | None = None

    def of(self, plan: ExecutionPlan) -> PlanExecutionContextManager:
        """What sets the context of a plan up, and takes it down, with the events of both."""
        return _StepContextManager(self._events(plan))

    def _events(self, plan: ExecutionPlan) -> Iterator[Any]:
        yield from self._generate(
            self._job,
            plan,
            self._run.run_config,
            self._run,
            self._instance,
            self._retry_mode,
            self._resources,
        )

    @cached_property
    def _generate(self) -> Any:
        loops = SimpleNamespace(new_event_loop=LoopOnDemand)
        return rebound(
            execution_context_event_generator,
            create_context_creation_data=lambda _, plan, *__: self._facts(plan),
            create_log_manager=self._log_manager,
            **({"asyncio": loops} if self._of_flow else {}),
        )

    def _facts(self, plan: ExecutionPlan) -> ContextCreationData:
        definition = self._job.get_definition()
        if self._keys is None or not self._of_flow:
            self._keys = get_required_resource_keys_to_init(plan, definition)
        return ContextCreationData(
            job=self._job,
            resolved_run_config=self._resolved,
            dagster_run=self._run,
            executor_def=definition.executor_def,
            instance=self._instance,
            resource_keys_to_init=self._keys,
            execution_plan=plan,
        )

    def _log_manager(self, facts: ContextCreationData) -> DagsterLogManager:
        if self._log is None:
            direct = direct_log(self._instance, self._run) if self._of_flow else None
            self._log = create_log_manager(facts) if direct is None else direct
        return self._log


class _StepContextManager(PlanExecutionContextManager):
    """The context of one step."""

    def __init__(self, events: Iterator[Any]) -> None:
        ExecutionContextManager.__init__(self, events)
