"""The resources of a flow's steps, set up once in each worker and without events.

Dagster sets them up anew for each step, stores two events about it each time, and makes a class
wherever a context is asked for them. A flow's resources are the same for all steps of a run and
have nothing to take down: they only know where the run's records and parameters are.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from dagster import DagsterEvent, DagsterUserCodeExecutionError

from flowtoy_dagster.engine.dagster_private.execution import (
    EventGenerationManager,
    ScopedResourcesBuilder,
    resource_initialization_event_generator,
    serializable_error_info_from_exc_info,
)


class KeptResources:
    """Replaces Dagster's `resource_initialization_manager`; a failure is still an event."""

    def __init__(self) -> None:
        self._builder: _KeptBuilder | None = None

    def __call__(self, **arguments: Any) -> EventGenerationManager[ScopedResourcesBuilder]:
        """What gives a step its resources."""
        return EventGenerationManager(self._events(arguments), ScopedResourcesBuilder)

    def _events(self, arguments: dict[str, Any]) -> Iterator[Any]:
        if self._builder is None:
            yield from self._set_up(arguments)
        if self._builder is not None:
            yield self._builder

    def _set_up(self, arguments: dict[str, Any]) -> Iterator[Any]:
        quiet = {**arguments, "emit_persistent_events": False}
        try:
            for found in resource_initialization_event_generator(**quiet):
                if isinstance(found, ScopedResourcesBuilder):
                    self._builder = _KeptBuilder(
                        found.resource_instance_dict, found.contains_generator
                    )
                else:
                    yield found
        except DagsterUserCodeExecutionError as error:
            yield DagsterEvent.resource_init_failure(
                arguments["dagster_run"].job_name,
                arguments["execution_plan"],
                arguments["log_manager"],
                arguments["resource_keys_to_init"],
                serializable_error_info_from_exc_info(error.original_exc_info),
            )
            raise


class _KeptBuilder(ScopedResourcesBuilder):
    """Makes what a context has as `resources` once for each set of names."""

    def build(self, required_resource_keys: AbstractSet[str] | None) -> Any:
        """The resources of these names."""
        built: dict[frozenset[str], Any] = self.__dict__.setdefault("built", {})
        keys = frozenset(required_resource_keys or ())
        if keys not in built:
            built[keys] = super().build(keys)
        return built[keys]
