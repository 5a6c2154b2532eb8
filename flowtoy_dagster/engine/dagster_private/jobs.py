"""What jobs need: events of their own, and what Dagster keeps to load them again."""

from dagster._core.definitions.definitions_load_context import (
    DefinitionsLoadContext,
    DefinitionsLoadType,
)
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.events import EngineEventData

__all__ = [
    "SINGLETON_REPOSITORY_NAME",
    "DefinitionsLoadContext",
    "DefinitionsLoadType",
    "EngineEventData",
]
