"""The executor `in_process`: one step after another, in the process of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowtoy_dagster.engine.executors.kind import ExecutorKind, own_run_config

if TYPE_CHECKING:
    import dagster as dg


class InProcessKind(ExecutorKind):
    """Runs all steps in one process."""

    is_local = True

    def build(
        self, options: Any, max_workers: int, limits: list[dict[str, Any]]
    ) -> dg.ExecutorDefinition:
        """The executor for Dagster."""
        from flowtoy_dagster.engine.executors.definition import own_executor
        from flowtoy_dagster.engine.executors.scheduling.dagster_executors import (
            HaltingInProcessExecutor,
        )
        from flowtoy_dagster.engine.executors.scheduling.halting import FLOW_EXECUTION

        def make(config: dict[str, Any]) -> dg.Executor:
            return HaltingInProcessExecutor(**FLOW_EXECUTION)

        return own_executor(self.name, make, max_workers, limits, several_processes=False)

    def run_config(self, max_workers: int) -> Mapping[str, Any]:
        """How many steps may run at once, which is taken and not used."""
        return own_run_config(max_workers)
