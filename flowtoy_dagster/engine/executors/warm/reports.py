"""What a worker reports to the run's process: each event when it is stored, and a step's end."""

import threading
from collections.abc import Collection
from multiprocessing.connection import Connection
from typing import Any

import dagster as dg
from dagster import DagsterEvent

from flowtoy_dagster.engine.fence import wait_to_be_killed
from flowtoy_dagster.engine.storage.event_groups import EventGroup

_STORED_ALONE = frozenset(
    kind.value for kind in (
        dg.DagsterEventType.STEP_WORKER_STARTED, dg.DagsterEventType.LOGS_CAPTURED,
        dg.DagsterEventType.STEP_INPUT, dg.DagsterEventType.LOADED_INPUT,
        dg.DagsterEventType.HANDLED_OUTPUT,
    )
)
"""Events of a flow's steps from which nothing follows in the run's process, which gets none."""
_AT_BEGIN_OR_END = _STORED_ALONE | {
    kind.value for kind in (
        dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_OUTPUT,
        dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.STEP_SKIPPED, dg.DagsterEventType.STEP_UP_FOR_RETRY,
    )
}
"""Events that come right before a step's own work, or right after it: both are stored together."""


class Reports:
    """The connection to the run's process; threads of a step may report, too, while it runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._running = False
        self._unwanted: Collection[str] = ()
        self._held: Collection[str] = ()
        self._untold: list[DagsterEvent] = []
        self._group: EventGroup | None = None

    def in_groups(self, log: Any) -> None:
        """Report what follows from the events of a flow's steps, in groups, from now on.

        Args:
            log: where this process stores events; one that can't hold any back stores each alone.
        """
        if self._held:
            return
        self._unwanted, self._held = _STORED_ALONE, _AT_BEGIN_OR_END
        if hasattr(log, "group"):
            log.group = self._group = EventGroup(_AT_BEGIN_OR_END, log.insert)

    def next_step(self) -> tuple[str, Any]:
        """The next step to run, and what it must know; raises EOFError where there is none."""
        found: tuple[str, Any] = self._connection.recv()
        self._running = True
        return found

    def tell(self, event: DagsterEvent) -> None:
        """Report an event of the running step; after its end, reports are dropped."""
        kind = event.event_type_value
        with self._lock:
            if self._running and kind not in self._unwanted:
                self._untold.append(event)
        if kind not in self._held:
            self.flush()

    def flush(self) -> None:
        """Store what is held back, and report it."""
        self.store()
        with self._lock:
            if self._running and self._untold:
                self._send(("events", self._untold))
                self._untold = []

    def store(self) -> None:
        """Store what is held back."""
        if self._group is not None:
            self._group.flush()

    def end(self, error: Any, retiring: bool) -> None:
        """Report that the step has ended, with what else is stored of it.

        Args:
            error: what broke it outside of the step itself.
            retiring: whether the worker ends now.
        """
        is_stored = self._group is None or self._group.empty()
        with self._lock:
            self._running = False
            untold, self._untold = self._untold, []
            self._send(("done", (untold if is_stored else [], error, retiring)))

    def _send(self, message: Any) -> None:
        """Send a message; where nobody reads any more, do nothing more.

        An error would end the step, and its failure would be stored.
        """
        try:
            self._connection.send(message)
        except OSError:
            wait_to_be_killed()
