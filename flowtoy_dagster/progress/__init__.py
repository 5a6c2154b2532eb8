"""What `flowtoy run` shows on stderr while it runs: a live area on a terminal, else lines."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Protocol

from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.terminal import can_redraw

if TYPE_CHECKING:
    from flowtoy_dagster.runs.status.models import Change, RunStatus


class Progress(Protocol):
    """Shows the progress of a run."""

    def start(self, flow: Flow, reused: Collection[str] = ()) -> None:
        """The run begins: there may be threads from now on.

        Args:
            flow: what is run.
            reused: the steps of which nothing will be heard, because they succeeded before.
        """

    def show(self, change: Change) -> None:
        """Show one change."""

    def stop(self) -> None:
        """The run has ended, or never began: others may write to the terminal again."""

    def summarize(self, status: RunStatus) -> None:
        """Print the last line: the counts, the time, and where to look."""


@contextlib.contextmanager
def progress_on_stderr() -> Iterator[Progress]:
    """What suits stderr. Enter it before the workers' server is forked off.

    On a terminal, all that this process and those it starts write to stdout's and stderr's
    descriptors is printed above the live area from here on, until `stop`.
    """
    if not can_redraw(sys.stderr, os.environ):
        from flowtoy_dagster.progress.lines import ProgressLines

        yield ProgressLines()
        return
    from flowtoy_dagster.progress.live import LiveProgress

    progress = LiveProgress(coloured=not os.environ.get("NO_COLOR"))
    try:
        yield progress
    finally:
        progress.stop()
