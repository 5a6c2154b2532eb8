"""A line for each change of a step's state: for files, pipes and terminals that can't do more."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, TextIO

from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.progress.words import change_lines, held_cursors, name_width, summary
from flowtoy_dagster.terminal import plain

if TYPE_CHECKING:
    from flowtoy_dagster.runs.status.models import Change, RunStatus


class ProgressLines:
    """A line for each change of a step's state.

    Args:
        stream: where they go; by default to what stderr is now, also while a step's is captured.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        # An executor that runs steps in this process captures what stderr is meanwhile.
        self._stream = stream or os.fdopen(os.dup(2), "w", errors="backslashreplace")
        self._flow: Flow | None = None
        self._width = 0
        self._started = 0.0

    def start(self, flow: Flow, reused: Collection[str] = ()) -> None:
        """The run begins.

        Args:
            flow: what is run.
            reused: the steps of which nothing will be heard, because they succeeded before.
        """
        self._flow = flow
        self._width = name_width([step.name for step in flow.steps])
        self._started = time.monotonic()

    def show(self, change: Change) -> None:
        """Show one change."""
        items = change.step.items
        if change.is_progress and items is not None and items.ended == items.total:
            return  # the step's end follows, and says the same
        for line in change_lines(change, self._width, self._flow):
            self._print(line)

    def stop(self) -> None:
        """The run has ended, or never began."""

    def summarize(self, status: RunStatus) -> None:
        """Print the last lines: cursors that are held back, the counts, and where to look."""
        for line in held_cursors(status):
            self._print(line)
        self._print(summary(status, time.monotonic() - self._started))

    def _print(self, text: str) -> None:
        # The log's disk may be full, or its reader may be gone: the run continues.
        with contextlib.suppress(OSError, ValueError):
            print(plain(text), file=self._stream, flush=True)
