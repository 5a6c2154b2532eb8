"""The thread that asks a source for news, so that the page never waits."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from flowtoy_dagster.errors import FlowtoyError
from flowtoy_dagster.runs.status.models import RunStatus
from flowtoy_dagster.tui.sources import Printed, RunSource

INTERVAL = 0.25
"""Seconds between two looks at the run."""


@dataclass(frozen=True)
class News:
    """What is known of the run at some moment.

    Attributes:
        status: its state, or the last known one if it is not available now.
        step: the step that the others are of.
        outputs: its outputs as JSON; None where it has none, or they were not asked for.
        printed: what it has printed; None where that can't be known, or was not asked for.
        asked_for_log: whether what it has printed was asked for.
        trouble: why there is no newer status.
    """

    status: RunStatus
    step: str
    outputs: str | None = None
    printed: tuple[Printed, ...] | None = None
    asked_for_log: bool = False
    trouble: str | None = None


class Watcher:
    """Asks a source for news, and carries out what is wished of it, in a thread of its own.

    Args:
        source: the run.
        status: its state now.
        tell: called in the thread with news, whenever there are any.
        complain: called in the thread with why a wish could not be granted.
    """

    def __init__(
        self,
        source: RunSource,
        status: RunStatus,
        tell: Callable[[News], None],
        complain: Callable[[str], None],
    ) -> None:
        self._source = source
        self._tell = tell
        self._complain = complain
        self._news = News(status, "")
        self._selected = ("", False)
        self._outputs: tuple[object, str | None] = (None, None)
        self._wishes: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._watch, name="flowtoy-tui", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; a question that is under way is not waited for."""
        self._stopped = True
        self._wake.set()

    def select(self, step: str, *, printed: bool) -> None:
        """Show a step from now on: what it has printed, or else its outputs."""
        self._selected = (step, printed)
        self._wake.set()

    def cancel(self) -> None:
        """Have the run end."""
        self._wish(self._source.cancel)

    def retry(self) -> None:
        """Have what failed run again."""
        self._wish(self._source.retry)

    def _wish(self, wish: Callable[[], None]) -> None:
        self._wishes.append(wish)
        self._wake.set()

    def _watch(self) -> None:
        while not self._stopped:
            self._grant_wishes()
            began = time.monotonic()
            news = self._look(*self._selected)
            if news != self._news and not self._stopped:
                self._news = news
                self._tell(news)
            # What takes long to ask for is asked for less often.
            self._wake.wait(max(INTERVAL, time.monotonic() - began))
            self._wake.clear()

    def _grant_wishes(self) -> None:
        try:
            while self._wishes:
                self._wishes.popleft()()
        except FlowtoyError as error:
            self._complain(str(error))

    def _look(self, step: str, printed: bool) -> News:
        try:
            status = self._source.status()
            known = status.steps.get(step)
            if known is None or known.started_at is None:
                return News(status, step, printed=())
            if printed:
                found = self._source.printed(step)
                told = None if found is None else tuple(found)
                return News(status, step, printed=told, asked_for_log=True)
            if known.state != "succeeded":
                return News(status, step)
            wanted = (status.run_id, step)
            if self._outputs[0] != wanted:
                self._outputs = wanted, self._source.outputs(step)
            return News(status, step, self._outputs[1])
        except FlowtoyError as error:
            return News(self._news.status, step, trouble=str(error).splitlines()[0])
