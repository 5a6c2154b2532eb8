"""The resources of a step of a flow, set up without an event each time.

Dagster stores two events a step about the one resource that all steps have, and sends them to the
run's process: a fifth of a small step's events, which tell nobody anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dagster import DagsterEvent, DagsterUserCodeExecutionError

from flowtoy_dagster.engine.dagster_private.execution import (
    EventGenerationManager,
    ScopedResourcesBuilder,
    resource_initialization_event_generator,
    serializable_error_info_from_exc_info,
)


def quiet_resources(**arguments: Any) -> EventGenerationManager[ScopedResourcesBuilder]:
    """In the place of Dagster's `resource_initialization_manager`; a failure is an event still."""
    return EventGenerationManager(_events(arguments), ScopedResourcesBuilder)


def _events(arguments: dict[str, Any]) -> Iterator[Any]:
    try:
        yield from resource_initialization_event_generator(
            **{**arguments, "emit_persistent_events": False}
        )
    except DagsterUserCodeExecutionError as error:
        yield DagsterEvent.resource_init_failure(
            arguments["dagster_run"].job_name,
            arguments["execution_plan"],
            arguments["log_manager"],
            arguments["resource_keys_to_init"],
            serializable_error_info_from_exc_info(error.original_exc_info),
        )
        raise
