"""The events that workers elsewhere store, as the carrier of their run reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import dagster as dg
from dagster import DagsterEvent, DagsterEventType

from flowtoy_dagster.engine.executors.remote.database import Database

_NEW = """
SELECT logs.id, wanted.turn, logs.event FROM event_logs AS logs
JOIN unnest(%s::text[], %s::integer[], %s::bigint[]) AS wanted (step_key, turn, id)
ON logs.step_key = wanted.step_key AND logs.id > wanted.id
WHERE logs.run_id = %s ORDER BY logs.id
"""
LAST = frozenset({
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.STEP_SKIPPED,
    DagsterEventType.STEP_UP_FOR_RETRY,
})
"""The events after which a worker stores no more of an attempt."""


def events_after(
    database: Database, run_id: str, wanted: Mapping[int, tuple[str, int]]
) -> Iterator[tuple[int, int, DagsterEvent | None]]:
    """What steps have stored since.

    A step's worker stores one event after another, and only as long as it holds the step. So, other
    than in the whole log, an event with a lower id never shows up after one with a higher.

    Args:
        database: the database of runs.
        run_id: the run.
        wanted: by turn, a step's key and the id of the last event that is known of it.

    Yields:
        the event's id, the turn, and the event; None for a line that is no event of Dagster's.
    """
    if not wanted:
        return
    keys, ids = zip(*wanted.values(), strict=True)
    for number, turn, text in database.rows(_NEW, [list(keys), list(wanted), list(ids), run_id]):
        yield number, turn, dg.deserialize_value(text, dg.EventLogEntry).dagster_event
