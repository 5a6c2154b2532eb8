"""The executor `multiprocess`: a new process for each step, as Dagster has it."""

from __future__ import annotations

import multiprocessing.forkserver
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowtoy_dagster.engine.executors.kind import ExecutorKind, own_run_config

if TYPE_CHECKING:
    import dagster as dg

_first_environment: dict[str, str] = {}


class MultiprocessKind(ExecutorKind):
    """Runs each step in a process of its own."""

    is_local = True

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
    from flowtoy_dagster.engine.executors.scheduling.dagster_executors import (
        HaltingMultiprocessExecutor,
    )
    from flowtoy_dagster.engine.executors.scheduling.halting import FLOW_EXECUTION
    from flowtoy_dagster.engine.executors.warm.forked_off import DEFINITIONS, PRELOAD

    return HaltingMultiprocessExecutor(
        **config,
        start_method="forkserver" if _fork_server_fits() else "spawn",
        explicit_forkserver_preload=[PRELOAD, DEFINITIONS],
        **FLOW_EXECUTION,
    )


def _fork_server_fits() -> bool:
    """Whether processes that the fork server forks have the environment of now.

    There is one for the whole program, with the environment of its start for ever. Whoever uses
    it first starts it: a run of ours, or a job of the program's own.
    """
    if not _first_environment:
        server = multiprocessing.forkserver._forkserver
        if getattr(server, "_forkserver_pid", None) is not None:
            return False
        _first_environment.update(os.environ)
    return dict(os.environ) == _first_environment
