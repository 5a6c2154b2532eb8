"""The executors that a flow may name, by name."""

from typing import Any

import dagster as dg

from flowtoy_dagster.engine.executor import warm_executor
from flowtoy_dagster.engine.pool import PRELOAD

# A step of which only `continue` dependents remain must start although its upstream failed.
_STEP_DEPENDENCIES = {"require_upstream_step_success": False}


def executor_named(name: str, max_workers: int) -> dg.ExecutorDefinition:
    """The executor definition for `runner.executor`.

    Args:
        name: `warm`, `multiprocess` or `in_process`.
        max_workers: how many steps may run at once, unless the run's configuration says else.

    Raises:
        KeyError: there is none of that name.
    """
    makers = {"warm": _warm, "multiprocess": _multiprocess, "in_process": _in_process}
    return makers[name](max_workers)


def _warm(max_workers: int) -> dg.ExecutorDefinition:
    def configure(config: dict[str, Any]) -> dict[str, Any]:
        return {"max_concurrent": config["max_concurrent"], **_STEP_DEPENDENCIES}

    return warm_executor.configured(configure, config_schema=_limit(max_workers), name="warm")


def _multiprocess(max_workers: int) -> dg.ExecutorDefinition:
    def configure(config: dict[str, Any]) -> dict[str, Any]:
        return {
            "max_concurrent": config["max_concurrent"],
            "start_method": {"forkserver": {"preload_modules": [PRELOAD]}},
            "step_dependency_config": _STEP_DEPENDENCIES,
        }

    return dg.multiprocess_executor.configured(
        configure,
        config_schema=_limit(max_workers),
        name="multiprocess",
    )


def _in_process(max_workers: int) -> dg.ExecutorDefinition:
    def configure(config: dict[str, Any]) -> dict[str, Any]:
        return {"step_dependency_config": _STEP_DEPENDENCIES}

    return dg.in_process_executor.configured(
        configure,
        config_schema=_limit(1),
        name="in_process",
    )


def _limit(default: int) -> dict[str, dg.Field]:
    """The one thing of a flow's executor that a run may set."""
    return {"max_concurrent": dg.Field(dg.Int, default_value=default, is_required=False)}
