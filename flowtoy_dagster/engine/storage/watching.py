"""New events of a run in its SQLite database, for its watchers, as they are written."""

import threading
import time
from collections.abc import Callable

from dagster import EventLogEntry
from watchdog.events import FileSystemEvent, PatternMatchingEventHandler

from flowtoy_dagster.engine.dagster_private.storage import (
    EventLogCursor,
    SqliteEventLogStorage,
)

PAUSE = 0.05
"""Seconds after a change in which more of them are waited for, to read them all at once."""


class RunWatch(PatternMatchingEventHandler):
    """Calls back with each new event of a run.

    Dagster's own looks at the database's file alone. That does not change while connections to it
    are kept: what they write is in the log next to it, for long.

    Args:
        storage: where the events are.
        run_id: the run.
        callback: called with each event and the cursor behind it.
        cursor: behind the last event that is known already.
    """

    def __init__(
        self,
        storage: SqliteEventLogStorage,
        run_id: str,
        callback: Callable[[EventLogEntry, str], object],
        cursor: str | None,
    ) -> None:
        path = storage.path_for_shard(run_id)
        super().__init__(patterns=[path, f"{path}-wal"])
        self._storage = storage
        self._run_id = run_id
        self._callback = callback
        self._cursor = cursor
        self._lock = threading.Lock()

    def on_modified(self, event: FileSystemEvent) -> None:
        time.sleep(PAUSE)
        self.tell()

    def tell(self) -> None:
        """Call back with what has come since the last time."""
        with self._lock:
            found = self._storage.get_records_for_run(self._run_id, self._cursor)
            self._cursor = found.cursor or self._cursor
            for record in found.records:
                cursor = EventLogCursor.from_storage_id(record.storage_id)
                self._callback(record.event_log_entry, str(cursor))
