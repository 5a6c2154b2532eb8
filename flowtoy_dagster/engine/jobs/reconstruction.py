"""What a code location was made of, remembered for the processes that make it again.

Dagster loads a code location once, and has it made again by every process of a run. Text that is
left here the first time is kept with the location's runs and given back each later time.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import dagster as dg

from flowtoy_dagster.engine.dagster_private.jobs import (
    SINGLETON_REPOSITORY_NAME,
    DefinitionsLoadContext,
    DefinitionsLoadType,
)


def remembered(key: str) -> str | None:
    """What was left under a key when the location was loaded; None while that is being done."""
    context = DefinitionsLoadContext.get()
    if context.load_type is DefinitionsLoadType.INITIALIZATION:
        return None
    text: str | None = context.reconstruction_metadata.get(key)
    return text


def remember(key: str, text: str) -> None:
    """Leave a text for the processes that make the location again; it is stored with each run."""
    DefinitionsLoadContext.get().add_to_pending_reconstruction_metadata(key, text)


def load_repository(load: Callable[[], dg.Definitions]) -> dg.RepositoryDefinition:
    """Load definitions in this process, as a code server would.

    What was remembered is the repository's `repository_load_data`, which a run's plan needs.
    """
    context = DefinitionsLoadContext(DefinitionsLoadType.INITIALIZATION)
    with DefinitionsLoadContext.scoped(context):
        repository = load().get_repository_def()
    return repository.replace_repository_load_data(
        context.get_pending_reconstruction_metadata(), context.accessed_defs_state_info
    )


def lazy_repository(
    jobs: Mapping[str, Callable[[], dg.JobDefinition]],
    schedules: Iterable[dg.ScheduleDefinition],
    sensors: Iterable[dg.SensorDefinition] = (),
) -> dg.RepositoryDefinition:
    """A repository of the name that definitions have, whose jobs are made when asked for."""

    def contents() -> dict[str, dict[str, Any]]:
        return {
            "jobs": dict(jobs),
            "schedules": {each.name: each for each in schedules},
            "sensors": {each.name: each for each in sensors},
        }

    return dg.repository(name=SINGLETON_REPOSITORY_NAME)(contents)
