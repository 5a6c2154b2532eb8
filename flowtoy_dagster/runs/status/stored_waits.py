"""What steps wait for and warn of, read from a run's history while the run is active.

Some executors give the events of a step only when it has come further; what it waits for would be
shown when the wait is over.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
from dagster import DagsterEvent, DagsterEventType
from sqlalchemy.exc import DBAPIError

from flowtoy_dagster.engine.jobs.events.step_warning import warning_in
from flowtoy_dagster.engine.jobs.events.waiting import waits_for

LOOK = 0.5
"""Seconds between two looks."""
_BATCH = 1000


@contextlib.contextmanager
def stored_waits(
    instance: dg.DagsterInstance, run_id: str, take_in: Callable[[DagsterEvent], None]
) -> Iterator[None]:
    """Hand on, while the block runs, the events that say what steps wait for and warn of.

    Args:
        instance: where the run is.
        run_id: Dagster's id of the run.
        take_in: called with each of them, in another thread; what it raises is raised at the end.
    """
    ended = threading.Event()

    def follow() -> None:
        cursor, is_last = None, False
        while not is_last:
            is_last = ended.wait(LOOK)  # what came after the look before is not lost
            # Who can't read now reads next time; who can't write ends the run and says why.
            with contextlib.suppress(DBAPIError, sqlite3.Error):
                page = instance.get_records_for_run(
                    run_id, cursor, {DagsterEventType.ENGINE_EVENT}, _BATCH
                )
                cursor = page.cursor
                for record in page.records:
                    event = record.event_log_entry.dagster_event
                    if event is not None and _is_told(event):
                        take_in(event)

    with ThreadPoolExecutor(1, "flowtoy-waits") as threads:
        following = threads.submit(follow)
        try:
            yield
        finally:
            ended.set()
    following.result()


def _is_told(event: DagsterEvent) -> bool:
    return waits_for(event) is not None or warning_in(event) is not None
