"""The executor of runs whose workers are elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from dagster import DagsterEvent, MetadataValue

from flowtoy_dagster.engine.dagster_private.execution import (
    EngineEventData,
    ExecutionPlan,
    PlanOrchestrationContext,
)
from flowtoy_dagster.engine.executors.remote.database import Database
from flowtoy_dagster.engine.executors.remote.leases import RENEWAL
from flowtoy_dagster.engine.executors.remote.pool import RemotePool
from flowtoy_dagster.engine.executors.remote.transport import Transport
from flowtoy_dagster.engine.executors.scheduling.closing import limit_of
from flowtoy_dagster.engine.executors.warm.executor import LONGEST_STOP, WarmExecutor
from flowtoy_dagster.engine.executors.warm.pool import Pool
from flowtoy_dagster.engine.sites.site import Site
from flowtoy_dagster.engine.storage.address import PATIENCE
from flowtoy_dagster.engine.tags import QUEUE_TAG, WAITS_FOR


class RemoteExecutor(WarmExecutor):
    """The warm executor's scheduling over workers that are elsewhere.

    Args:
        open_transport: makes the transport of a run, given its connection and what its machine has.
        queue: the queue of steps that name none.
        **config: as `WarmExecutor` takes it.
    """

    longest_stop = LONGEST_STOP + 2 * RENEWAL
    tells_of_handing_over = True

    def __init__(
        self, open_transport: Callable[[Database, Site], Transport], queue: str, **config: Any
    ) -> None:
        super().__init__(**config)
        self._open_transport = open_transport
        self._queue = queue

    def _pool(
        self, context: PlanOrchestrationContext, plan: ExecutionPlan
    ) -> AbstractContextManager[Pool]:
        site = Site.of_here(context.instance.root_directory)
        database = Database.of_runs(PATIENCE)
        return RemotePool(
            context.dagster_run.run_id,
            database,
            site,
            self._open_transport(database, site),
            partial(self._queue_of, plan),
            lambda step_key: limit_of(plan.get_step_by_key(step_key)),
            partial(_tell, context, plan),
        )

    def _queue_of(self, plan: ExecutionPlan, step_key: str) -> str:
        tags = plan.get_step_by_key(step_key).tags or {}
        return tags.get(QUEUE_TAG, self._queue)


def _tell(
    context: PlanOrchestrationContext, plan: ExecutionPlan, step_key: str, text: str
) -> None:
    """Store that a step waits for something; it comes back with the events of its worker."""
    step: Any = plan.get_step_by_key(step_key)
    data = EngineEventData(metadata={WAITS_FOR: MetadataValue.text(text)})
    DagsterEvent.engine_event(context.for_step(step), text, data)
