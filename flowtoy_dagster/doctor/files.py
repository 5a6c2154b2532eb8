"""What `FLOWTOY_FILES` names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from flowtoy_dagster.datafiles.places import file_system
from flowtoy_dagster.doctor.folders import free_space, problem_of
from flowtoy_dagster.engine.storage.home import home_folder
from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.health import Health, fault_of
from flowtoy_dagster.store.shared.object_store import steadily
from flowtoy_dagster.store.shared.shared_files import (
    FILES_VARIABLE,
    check_shared_folder,
    shared_folder,
    shared_url,
)

PART = "files"


def examine_files() -> Iterator[Health]:
    """Whether what machines share can be found and written."""
    if not os.environ.get(FILES_VARIABLE):
        yield Health(PART, "off", f"in the home ({FILES_VARIABLE} is not set)")
        return
    try:
        url = shared_url()
        if url is not None:
            yield _answer_of(url)
            return
        home = home_folder()
        check_shared_folder(home)
        folder = shared_folder(home)
    except HomeError as error:
        yield fault_of(PART, error)
        return
    problem = problem_of(folder)
    if problem is None:
        yield Health(PART, "ok", f"{folder}, {free_space(folder)}")
    else:
        yield Health(PART, "fault", *problem)


def _answer_of(url: str) -> Health:
    """Whether an object store answers; nothing is written, so whether it may be is not known."""
    system, path = file_system(url)
    bucket = path.partition("/")[0]
    try:
        try:
            steadily(lambda: system.ls(path, detail=False), patience=0)
        except FileNotFoundError:
            # Nothing is there yet, or no bucket; access to the prefix alone does not show which.
            with contextlib.suppress(PermissionError):
                steadily(lambda: system.ls(bucket, detail=False), patience=0)
    except FileNotFoundError:
        return Health(PART, "fault", f"there is no bucket '{bucket}' at {url}",
                      f"make it, or correct {FILES_VARIABLE}")
    except OSError as error:
        fix = "check the endpoint (such as AWS_ENDPOINT_URL) and the network"
        if "credentials" in str(error):  # there are none, or they have expired
            fix = "set the access key (such as AWS_ACCESS_KEY_ID), or log in"
        elif isinstance(error, PermissionError):
            fix = "correct the access key, or the rights to the bucket"
        return Health(PART, "fault", f"{url} can't be read: {error}", fix)
    return Health(PART, "ok", f"{url} answers")
