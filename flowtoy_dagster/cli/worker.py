"""`flowtoy worker`."""

from __future__ import annotations

from typing import Annotated

import typer

from flowtoy_dagster.cli.shared import collect_garbage_again
from flowtoy_dagster.cli.shared.options import (
    Debug,
    EnvFile,
    Level,
    LogLevel,
    begin,
)


def worker(
    executor: Annotated[
        str, typer.Option("--executor", metavar="NAME",
                          help="The executor whose steps this worker runs.")
    ] = "workers",
    slots: Annotated[
        int, typer.Option("--slots", "-c", metavar="N", min=1, max=1000,
                          help="How many steps may run at once.")
    ] = 1,
    queue: Annotated[
        str, typer.Option("--queue", metavar="NAME",
                          help="The queue from which this worker takes steps.")
    ] = "default",
    env_file: EnvFile = None,
    log_level: Level = LogLevel.warning,
    debug: Debug = False,
) -> None:
    """Run steps of flows that other machines started.

    It takes steps of runs with the same executor and queue. Every executor needs the database that
    `FLOWTOY_STORAGE` names. `celery` also needs the broker that `FLOWTOY_BROKER` names, and `dask`
    the scheduler that `FLOWTOY_DASK` names. After SIGTERM or Ctrl-C the worker takes no more steps,
    and ends after those that run. A second signal ends them at once.
    """
    from flowtoy_dagster.engine.executors.kinds import executor_named

    begin(env_file, log_level)
    collect_garbage_again()
    executor_named(executor).serve(queue, slots)
