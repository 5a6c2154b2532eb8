"""For Dask's own command: `dask worker --preload flowtoy_dagster.dask`."""

from __future__ import annotations

from typing import Any

from flowtoy_dagster.errors import FlowtoyError
from flowtoy_dagster.terminal import say


async def dask_setup(worker: Any) -> None:
    """Start an agent in a worker; Dask calls it."""
    from flowtoy_dagster.engine.executors.brokers.dask.worker import add_agent
    from flowtoy_dagster.engine.executors.remote.needs import check_database

    try:
        check_database("dask")
        await add_agent(worker)
    except FlowtoyError as error:
        say(f"error: {error}")
        raise SystemExit(error.exit_code) from None


async def dask_teardown(worker: Any) -> None:
    """Wait until the steps have ended that a worker runs; Dask calls it."""
    from flowtoy_dagster.engine.executors.brokers.dask.worker import remove_agent

    await remove_agent(worker)
