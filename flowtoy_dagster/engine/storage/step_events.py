"""The events of steps from which nothing follows but that they are stored."""

import json
from datetime import datetime, timezone
from typing import Any

import dagster as dg

from flowtoy_dagster.engine.dagster_private.storage import pack_value

STEP_EVENTS = frozenset(
    kind.value for kind in (
        dg.DagsterEventType.STEP_WORKER_STARTING, dg.DagsterEventType.STEP_WORKER_STARTED,
        dg.DagsterEventType.LOGS_CAPTURED, dg.DagsterEventType.STEP_START,
        dg.DagsterEventType.STEP_INPUT, dg.DagsterEventType.LOADED_INPUT,
        dg.DagsterEventType.STEP_OUTPUT, dg.DagsterEventType.HANDLED_OUTPUT,
        dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.STEP_SKIPPED, dg.DagsterEventType.STEP_UP_FOR_RETRY,
    )
)
"""Their types. They change no run's status, and belong to no asset."""


def kind_of(event: dg.EventLogEntry) -> str | None:
    """The type of an entry's event; None where it is a text that somebody logged."""
    return None if event.dagster_event is None else event.dagster_event.event_type_value


class StepRows:
    """An event log storage that asks steps' events nothing about assets: they belong to none.

    Dagster's own asks each event 12 times.
    """

    def _event_to_row(self, event: dg.EventLogEntry) -> dict[str, Any]:
        """What is stored of an entry, by column: as Dagster's own gives it."""
        if event.dagster_event is None or kind_of(event) not in STEP_EVENTS:
            storage: Any = super()
            row: dict[str, Any] = storage._event_to_row(event)
            return row
        moment = datetime.fromtimestamp(event.timestamp, timezone.utc).replace(tzinfo=None)
        return {
            "run_id": event.run_id,
            "event": json.dumps(pack_value(event)),
            "dagster_event_type": event.dagster_event.event_type_value,
            "timestamp": moment,
            "step_key": event.dagster_event.step_key,
            "asset_key": None,
            "partition": None,
        }
