"""A session of the terminal page: the run that it shows, what is printed meanwhile and after it."""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

from flowtoy_dagster.progress.words import summary
from flowtoy_dagster.runs.status.models import RunStatus
from flowtoy_dagster.terminal import plain, say
from flowtoy_dagster.tui.sources import RunHere, RunSource

if TYPE_CHECKING:
    from flowtoy_dagster.flow.graph import Flow
    from flowtoy_dagster.runs.processes.background_run import BackgroundRun
    from flowtoy_dagster.runs.processes.run_process import RunProcess


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
    from flowtoy_dagster.flow.graph import worker_count
    from flowtoy_dagster.runs.history import History
    from flowtoy_dagster.runs.processes.background_run import launch_background
    from flowtoy_dagster.runs.retry import plan_retry

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
                history, plan.flow, max_workers, output=messages, reuse=plan.reuse
            ))

        run = told(launch_background(history, flow, max_workers, process=process))
        source = RunHere(history, run, retry)
        stack.callback(source.close)
        yield source


@contextlib.contextmanager
def messages_kept() -> Iterator[IO[str]]:
    """Keep the log, and what background processes print, until the page is gone.

    Yields:
        the file that they go to.
    """
    handlers = [
        handler for handler in logging.getLogger("flowtoy").handlers
        if isinstance(handler, logging.StreamHandler)
    ]
    with tempfile.TemporaryFile("w+", errors="replace", buffering=1) as file:
        before = [handler.setStream(file) for handler in handlers]
        try:
            yield file
        finally:
            for handler, stream in zip(handlers, before, strict=True):
                if stream is not None:
                    handler.setStream(stream)
            file.seek(0)
            for line in file:
                say(line)


def show(source: RunSource, status: RunStatus, *, show_logs: bool) -> int:
    """Show the page until it is left; gives the exit code."""
    from flowtoy_dagster.tui.app import RunPage

    page = RunPage(source, status, show_log=show_logs)
    code = page.run()
    for line in last_words(page.status):
        sys.stderr.write(f"{plain(line)}\n")
    return 1 if code is None else code


def last_words(status: RunStatus) -> Iterator[str]:
    """What stays in the terminal of a run that was shown: why steps failed, and the counts."""
    for step in status.steps.values():
        if step.state == "failed":
            yield f"{step.name} failed: {step.error}"
    started = status.started_at or time.time()
    yield summary(status, (status.ended_at or time.time()) - started)
