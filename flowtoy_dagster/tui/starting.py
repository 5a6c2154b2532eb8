"""Starting the run that the terminal page shows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import IO, Any

from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.processes.background_run import BackgroundRun, launch_background
from flowtoy_dagster.runs.processes.run_process import RunProcess
from flowtoy_dagster.runs.retry import plan_retry
from flowtoy_dagster.runs.run import worker_count
from flowtoy_dagster.tui.sources import RunHere


@contextlib.contextmanager
def run_here(
    flow: Flow,
    max_workers: int | None,
    process: RunProcess,
    messages: IO[Any],
    show_run: Callable[[str], None] | None = None,
) -> Iterator[RunHere]:
    """Run a flow in the background; the run ends with the context.

    Args:
        flow: what to run.
        max_workers: how many steps may run at once.
        process: what will carry the run.
        messages: where processes print that carry its retries.
        show_run: called with the id of the run, and of each retry.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        worker_count(flow, max_workers)
        history = stack.enter_context(History())

        def told(run: BackgroundRun) -> BackgroundRun:
            if show_run is not None:
                show_run(run.run_id)
            return run

        def retry(run_id: str) -> BackgroundRun:
            plan = plan_retry(history, history.find(run_id))
            return told(launch_background(
                history, plan.flow, max_workers, output=messages,
                parent=plan.parent, only=frozenset(plan.reasons),
            ))

        run = told(launch_background(history, flow, max_workers, process=process))
        source = RunHere(history, run, retry)
        stack.callback(source.close)
        yield source
