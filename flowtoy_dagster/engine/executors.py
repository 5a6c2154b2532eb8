"""The executors that a flow may name, by name."""

from typing import Any

import dagster as dg

PRELOAD = "flowtoy_dagster.engine.preload"
# A step of which only `continue` dependents remain must start although its upstream failed.
_STEP_DEPENDENCIES = {"require_upstream_step_success": False}


def executor_named(name: str, max_workers: int) -> dg.ExecutorDefinition:
    """The executor definition for `runner.executor`.

    Args:
        name: `multiprocess` or `in_process`.
        max_workers: how many steps may run at once, unless the run's configuration says else.

    Raises:
        KeyError: there is none of that name.
    """
    return {"multiprocess": _multiprocess, "in_process": _in_process}[name](max_workers)


def _multiprocess(max_workers: int) -> dg.ExecutorDefinition:
    def configure(config: dict[str, Any]) -> dict[str, Any]:
        return {
            "max_concurrent": config["max_concurrent"],
            "start_method": {"forkserver": {"preload_modules": [PRELOAD]}},
            "step_dependency_config": _STEP_DEPENDENCIES,
        }

    return dg.multiprocess_executor.configured(
        configure,
        config_schema={
            "max_concurrent": dg.Field(dg.Int, default_value=max_workers, is_required=False)
        },
        name="multiprocess",
    )


def _in_process(max_workers: int) -> dg.ExecutorDefinition:
    def configure(config: dict[str, Any]) -> dict[str, Any]:
        return {"step_dependency_config": _STEP_DEPENDENCIES}

    return dg.in_process_executor.configured(
        configure,
        config_schema={"max_concurrent": dg.Field(dg.Int, default_value=1, is_required=False)},
        name="in_process",
    )
