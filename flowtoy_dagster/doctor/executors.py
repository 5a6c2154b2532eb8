"""What executors say of what they need: brokers, workers."""

from __future__ import annotations

import os
from collections.abc import Iterator

from flowtoy_dagster.engine.executors.kinds import EXECUTOR_VARIABLE, EXECUTORS, executor_named
from flowtoy_dagster.errors import FlowtoyError
from flowtoy_dagster.health import Health, fault_of

PART = "executor"


def examine_executors() -> Iterator[Health]:
    """The executor of flows that name none, and what each executor says of itself."""
    wanted = os.environ.get(EXECUTOR_VARIABLE)
    if wanted:
        try:
            executor_named(wanted).check_home()
        except FlowtoyError as error:
            found = fault_of(PART, error)
            text = f"{EXECUTOR_VARIABLE}: {found.text.removeprefix('executor: ')}"
            yield Health(PART, "fault", text, found.fix or f"correct or unset {EXECUTOR_VARIABLE}")
        else:
            yield Health(PART, "ok", f"{wanted} ({EXECUTOR_VARIABLE})")
    for name in EXECUTORS.names():
        reason = EXECUTORS.why_unusable(name)
        if reason is None:
            yield from _answers_of(name, is_wanted=name == wanted)
        elif name != wanted:
            yield Health(PART, "off", reason)


def _answers_of(name: str, *, is_wanted: bool) -> Iterator[Health]:
    try:
        yield from EXECUTORS[name].examine(is_wanted=is_wanted)
    except FlowtoyError as error:
        yield fault_of(PART, error)
    except Exception as error:  # noqa: BLE001 - of a package, and the others are still to be asked
        yield Health(PART, "fault", f"'{name}' can't be examined: {type(error).__name__}: {error}",
                     "update the package that brings it")
