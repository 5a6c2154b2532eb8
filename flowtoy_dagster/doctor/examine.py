"""All parts, one after another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from flowtoy_dagster.doctor.executors import examine_executors
from flowtoy_dagster.doctor.files import examine_files
from flowtoy_dagster.doctor.home import examine_database, examine_home
from flowtoy_dagster.doctor.packages import examine_packages
from flowtoy_dagster.health import Health
from flowtoy_dagster.masking.mask import Mask, deployment_secrets, secret_values_in

PARTS: tuple[Callable[[], Iterable[Health]], ...] = (
    examine_packages, examine_home, examine_database, examine_files, examine_executors,
)


def examine() -> Iterator[Health]:
    """What each part answers, without secrets: those of this process's environment."""
    environment = dict(os.environ)
    mask = Mask({*deployment_secrets(environment), *secret_values_in(environment)})
    for part in PARTS:
        for found in part():
            fix = None if found.fix is None else mask.text(found.fix)
            yield replace(found, text=mask.text(found.text), fix=fix)
