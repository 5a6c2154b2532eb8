"""The terminal page around its app: what is printed while it shows, and after it."""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import IO

from flowtoy_dagster.progress.words import summary
from flowtoy_dagster.runs.status.models import RunStatus
from flowtoy_dagster.terminal import plain, say
from flowtoy_dagster.tui.sources import RunSource


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
