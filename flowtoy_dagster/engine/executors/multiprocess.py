"""The executor `multiprocess`: a new process for each step, as Dagster has it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowtoy_dagster.engine.executors.kind import ExecutorKind, own_run_config

if TYPE_CHECKING:
    import dagster as dg

_first_environment: dict[str, str] = {}


class MultiprocessKind(ExecutorKind):
    """Runs each step in a process of its own."""

    def build(
        self, options: Any, max_workers: int, limits: list[dict[str, Any]]
    ) -> dg.ExecutorDefinition:
        """The executor for Dagster."""
        from flowtoy_dagster.engine.executors.definition import own_executor

        return own_executor(self.name, _make, max_workers, limits)

    def run_config(self, max_workers: int) -> Mapping[str, Any]:
        """How many steps may run at once."""
        return own_run_config(max_workers)


def _make(config: dict[str, Any]) -> dg.Executor:
    from flowtoy_dagster.engine.executors.halting import (
        FLOW_EXECUTION,
        HaltingMultiprocessExecutor,
    )
    from flowtoy_dagster.engine.executors.warm.pool import DEFINITIONS, PRELOAD

    # A fork server that runs already has the environment of its start for ever.
    if not _first_environment:
        _first_environment.update(os.environ)
    stale = dict(os.environ) != _first_environment
    return HaltingMultiprocessExecutor(
        **config,
        start_method="spawn" if stale else "forkserver",
        explicit_forkserver_preload=[PRELOAD, DEFINITIONS],
        **FLOW_EXECUTION,
    )
