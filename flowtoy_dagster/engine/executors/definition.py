"""The executors of flowtoy's own as Dagster sees them: all take the same configuration."""

from collections.abc import Callable
from typing import Any

import dagster as dg

from flowtoy_dagster.errors import UsageError

Limits = list[dict[str, Any]]


def own_executor(
    name: str,
    make: Callable[[dict[str, Any]], dg.Executor],
    max_workers: int,
    limits: Limits,
    *,
    several_processes: bool = True,
) -> dg.ExecutorDefinition:
    """An executor definition.

    Args:
        name: the executor's name.
        make: makes the executor of a run's configuration.
        max_workers: how many steps may run at once, unless the run's configuration says else.
        limits: how many steps with a tag may, unless the run's configuration says else.
        several_processes: whether steps run in processes of their own.
    """
    requirements = dg.multiple_process_executor_requirements() if several_processes else []
    return dg.ExecutorDefinition(
        name=name,
        # What a run may set: nothing else could be set to do harm.
        config_schema={
            "max_concurrent": dg.Field(dg.Int, default_value=max_workers, is_required=False),
            "tag_concurrency_limits": dg.Field(
                dg.Array({"key": str, "value": str, "limit": int}),
                default_value=limits,
                is_required=False,
            ),
        },
        requirements=requirements,
        executor_creation_fn=lambda context: make(_checked(dict(context.executor_config))),
    )


def _checked(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a run's executor.

    Raises:
        UsageError: no step could ever run with it.
    """
    most = config.get("max_concurrent")
    if isinstance(most, int) and most < 0:  # with 0, Dagster takes the number of processors
        raise UsageError(
            f"max_concurrent must be at least 1, or 0 for the number of processors, got {most}"
        )
    return config
