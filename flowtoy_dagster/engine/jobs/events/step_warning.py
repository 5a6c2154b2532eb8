"""What a step warns of, as an event in the history of its run."""

import logging
from typing import Any

from dagster import DagsterEvent, DagsterEventType, MetadataValue

from flowtoy_dagster.engine.dagster_private.jobs import EngineEventData
from flowtoy_dagster.engine.jobs.events.event_text import bounded
from flowtoy_dagster.engine.tags import WARNING, WARNING_PATH
from flowtoy_dagster.steps.state.warnings import Warned


def warning_event(step_context: Any, warned: Warned) -> DagsterEvent:
    """An event, stored already, with a warning of a step.

    Args:
        step_context: Dagster's context of the step.
        warned: what it warns of.
    """
    text = bounded(warned.message)
    metadata = {
        WARNING: MetadataValue.text(text),
        WARNING_PATH: MetadataValue.json(list(warned.path)),
    }
    event = DagsterEvent(
        event_type_value=DagsterEventType.ENGINE_EVENT.value,
        job_name=step_context.job_name,
        step_handle=step_context.step.handle,
        node_handle=step_context.step.node_handle,
        step_kind_value=step_context.step.kind.value,
        logging_tags=step_context.event_tags,
        event_specific_data=EngineEventData(metadata=metadata),
        message=text,
    )
    # Dagster's own way has every such event at the level DEBUG.
    step_context.log.log_dagster_event(logging.WARNING, text, event)
    return event


def warning_in(event: DagsterEvent) -> Warned | None:
    """The warning of such an event; None for other events."""
    if not event.is_engine_event or not event.event_specific_data:
        return None
    metadata = event.engine_event_data.metadata
    text, path = metadata.get(WARNING), metadata.get(WARNING_PATH)
    if text is None or path is None or not isinstance(path.value, list):
        return None
    return Warned(str(text.value), tuple(path.value))
