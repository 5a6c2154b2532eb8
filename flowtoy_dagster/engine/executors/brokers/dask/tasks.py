"""The task that Dask brings to workers. The scheduler imports it, too: nothing heavy in here."""

from __future__ import annotations

from typing import Any

EXECUTOR = "dask"
PLUGIN = "flowtoy"
"""The name of the plugin of Dask's worker that has the agent."""


def run_step(text: str) -> None:
    """Have the step run that a message names, on a worker with an agent; waits for its end."""
    from distributed import get_worker

    plugin: Any = get_worker().plugins[PLUGIN]
    plugin.guest.run_step(text)
