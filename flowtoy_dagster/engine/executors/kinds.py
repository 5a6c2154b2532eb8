"""The executors that a flow may name, by name."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from flowtoy_dagster.engine.executors.halting import (
    FLOW_EXECUTION,
    HaltingInProcessExecutor,
    HaltingMultiprocessExecutor,
)
from flowtoy_dagster.engine.executors.warm.executor import WarmExecutor
from flowtoy_dagster.engine.executors.warm.pool import DEFINITIONS, PRELOAD

_first_environment: dict[str, str] = {}


def executor_named(
    name: str, max_workers: int, limits: list[dict[str, Any]] | None = None
) -> dg.ExecutorDefinition:
    """The executor definition for `runner.executor`.

    Args:
        name: `warm`, `multiprocess` or `in_process`.
        max_workers: how many steps may run at once, unless the run's configuration says else.
        limits: how many steps with a tag may, unless the run's configuration says else.

    Raises:
        KeyError: there is none of that name.
    """
    make = _MAKERS[name]
    return dg.ExecutorDefinition(
        name=name,
        # What a run may set: nothing else could be set to do harm.
        config_schema={
            "max_concurrent": dg.Field(dg.Int, default_value=max_workers, is_required=False),
            "tag_concurrency_limits": dg.Field(
                dg.Array({"key": str, "value": str, "limit": int}),
                default_value=limits or [],
                is_required=False,
            ),
        },
        requirements=[] if name == "in_process" else dg.multiple_process_executor_requirements(),
        executor_creation_fn=lambda context: make(dict(context.executor_config)),
    )


def _warm(config: dict[str, Any]) -> dg.Executor:
    return WarmExecutor(**config, **FLOW_EXECUTION)


def _multiprocess(config: dict[str, Any]) -> dg.Executor:
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


def _in_process(config: dict[str, Any]) -> dg.Executor:
    return HaltingInProcessExecutor(**FLOW_EXECUTION)


_MAKERS: Mapping[str, Callable[[dict[str, Any]], dg.Executor]] = {
    "warm": _warm,
    "multiprocess": _multiprocess,
    "in_process": _in_process,
}
