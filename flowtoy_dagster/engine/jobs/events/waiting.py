"""What a running step waits for, as an event in the history of its run."""

from typing import Any

from dagster import DagsterEvent, MetadataValue

from flowtoy_dagster.engine.dagster_private.jobs import (
    EngineEventData,
)
from flowtoy_dagster.engine.tags import WAITS_FOR


def waiting_event(step_context: Any, text: str) -> DagsterEvent:
    """An event, stored already, that says what a step waits for.

    Args:
        step_context: Dagster's context of the step.
        text: what is shown; empty when the step goes on.
    """
    data = EngineEventData(metadata={WAITS_FOR: MetadataValue.text(text)})
    return DagsterEvent.engine_event(step_context, text or "goes on", data)


def waits_for(event: DagsterEvent) -> str | None:
    """The text of such an event; None for other events."""
    if not event.is_engine_event or not event.event_specific_data:
        return None
    found = event.engine_event_data.metadata.get(WAITS_FOR)
    return None if found is None else str(found.value)
