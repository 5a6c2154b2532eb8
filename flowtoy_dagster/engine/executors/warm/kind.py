"""The executor `warm`: processes that are forked once and kept for the length of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flowtoy_dagster.engine.executors.kind import ExecutorKind, own_run_config

if TYPE_CHECKING:
    import dagster as dg


class WarmKind(ExecutorKind):
    """Runs steps in a few processes that are kept."""

    keeps_workers = True
    gives_waits = True
    is_local = True

    def build(
        self, options: Any, max_workers: int, limits: list[dict[str, Any]]
    ) -> dg.ExecutorDefinition:
        """The executor for Dagster."""
        from flowtoy_dagster.engine.executors.definition import own_executor
        from flowtoy_dagster.engine.executors.scheduling.halting import FLOW_EXECUTION
        from flowtoy_dagster.engine.executors.warm.executor import WarmExecutor

        def make(config: dict[str, Any]) -> dg.Executor:
            return WarmExecutor(**config, **FLOW_EXECUTION)

        return own_executor(self.name, make, max_workers, limits)

    def run_config(self, max_workers: int) -> Mapping[str, Any]:
        """How many steps may run at once."""
        return own_run_config(max_workers)

    def prepare(self, modules: Iterable[str], max_workers: int) -> None:
        """Fork the server off that forks workers, and as many as the prepared plan is wide."""
        from flowtoy_dagster.engine.executors.warm.forked_off import fork_off_server, fork_workers
        from flowtoy_dagster.engine.executors.warm.worker import prepared_width

        fork_off_server(modules)
        fork_workers(prepared_width(max_workers))

    def settle_workers(self, instance: dg.DagsterInstance) -> None:
        """Let the workers open the home."""
        from flowtoy_dagster.engine.executors.warm.forked_off import settle_workers
        from flowtoy_dagster.engine.executors.warm.worker import Surroundings

        settle_workers(Surroundings.of_here(instance))
