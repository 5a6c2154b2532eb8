"""The live area of `flowtoy run`: a line a step, a bar and the counts, drawn by a thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.machine.steady import steady_time
from flowtoy_dagster.progress.area import Line, TerminalArea
from flowtoy_dagster.progress.capture import StderrPipe
from flowtoy_dagster.progress.rows import Board
from flowtoy_dagster.progress.words import change_lines, held_cursors, name_width, summary
from flowtoy_dagster.terminal import plain

if TYPE_CHECKING:
    from flowtoy_dagster.runs.status.models import Change, RunStatus

INTERVAL = 0.125
"""Seconds between two drawings."""
_SUSPENDED = 2.0
"""Seconds without a drawing after which others have written to the terminal: it was Ctrl-Z."""


class LiveProgress:
    """Draws the progress of a run at the bottom of the terminal.

    Captures stderr from its making on, and starts a thread when the run starts: the workers'
    server is forked off in between.

    Args:
        coloured: whether colours are wanted.
    """

    def __init__(self, *, coloured: bool) -> None:
        self._pipe: StderrPipe | None = StderrPipe()
        self._terminal = self._pipe.terminal
        self._area = TerminalArea(self._terminal, coloured=coloured)
        self._board: Board | None = None
        self._above: list[str] = []
        self._lock = threading.Lock()
        self._width = 0
        self._flow: Flow | None = None
        self._started = 0.0
        self._drawn_at = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw_on, name="flowtoy-progress", daemon=True)

    def start(self, flow: Flow, reused: Collection[str] = ()) -> None:
        """Begin to draw."""
        self._flow = flow
        self._width = name_width([step.name for step in flow.steps])
        self._board = Board(flow, reused, unicode=_can_write("✓━", self._terminal.encoding))
        self._started = self._drawn_at = time.monotonic()
        self._thread.start()

    def show(self, change: Change) -> None:
        """Take in one change; a failure or a warning is printed above the area, too."""
        assert self._board is not None
        if change.warning is None:
            self._board.take_in(change)
        if change.warning is not None or change.step.state == "failed":
            with self._lock:
                self._above += map(plain, change_lines(change, self._width, self._flow))

    def stop(self) -> None:
        """Draw for the last time, and give stderr back."""
        if self._pipe is None:
            return
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        left = self._pipe.release()
        self._pipe = None
        with contextlib.suppress(OSError):  # the terminal may be gone
            rows: list[Line] = []
            if self._board is not None:
                rows = list(self._board.final(self._area.size().lines, steady_time()))
            self._draw(rows, left)

    def summarize(self, status: RunStatus) -> None:
        """Print the last lines."""
        last = summary(status, time.monotonic() - self._started)
        for line in (*held_cursors(status), last):
            print(plain(line), file=self._terminal, flush=True)

    def _draw_on(self) -> None:
        assert self._pipe is not None
        assert self._board is not None
        while not self._ended.wait(INTERVAL):
            others = self._pipe.lines()
            elapsed = time.monotonic() - self._started
            with contextlib.suppress(OSError):
                height = self._area.size().lines
                self._draw(list(self._board.frame(height, steady_time(), elapsed)), others)

    def _draw(self, rows: list[Line], others: list[str]) -> None:
        with self._lock:
            above, self._above = [*map(plain, others), *self._above], []
        now = time.monotonic()
        if now - self._drawn_at > _SUSPENDED:
            self._area.forget()
        self._drawn_at = now
        self._area.draw(rows, above)


def _can_write(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
