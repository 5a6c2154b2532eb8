"""What `FLOWTOY_FILES` names."""

from __future__ import annotations

import os
from collections.abc import Iterator

from flowtoy_dagster.doctor.folders import free_space, problem_of
from flowtoy_dagster.engine.storage.home import home_folder
from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.health import Health, fault_of
from flowtoy_dagster.store.store import FILES_VARIABLE, shared_folder

PART = "files"


def examine_files() -> Iterator[Health]:
    """Whether what machines share can be found and written."""
    if not os.environ.get(FILES_VARIABLE):
        yield Health(PART, "off", f"in the home ({FILES_VARIABLE} is not set)")
        return
    try:
        folder = shared_folder(home_folder())
    except HomeError as error:
        yield fault_of(PART, error)
        return
    problem = problem_of(folder)
    if problem is None:
        yield Health(PART, "ok", f"{folder}, {free_space(folder)}")
    else:
        yield Health(PART, "fault", *problem)
