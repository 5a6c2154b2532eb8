"""Which earlier runs have items that a repeated step may reuse (language 18.9)."""

from collections.abc import Callable, Iterable

import dagster as dg

from flowtoy_dagster.engine.tags import REUSE_TAG

_FROM_FAILURE = "dagster/is_resume_retry"
"""The tag by which Dagster's re-execution from failure is known."""

FindRun = Callable[[str], dg.DagsterRun | None]


def reuse_tag(run_id: str, step_keys: Iterable[str]) -> str:
    """The value of the tag of a retry, which names the steps whose items it may reuse."""
    return " ".join([run_id, *sorted(step_keys)])


def runs_before(run: dg.DagsterRun, find: FindRun) -> list[str]:
    """The ids of the runs that a run is a retry of, the nearest first."""
    found: list[str] = []
    current: dg.DagsterRun | None = run
    while current is not None and current.parent_run_id and current.parent_run_id not in found:
        found.append(current.parent_run_id)
        current = find(current.parent_run_id)
    return found


def origin_of(run: dg.DagsterRun, step_key: str, find: FindRun) -> str:
    """The id of the run that executed a step: the run itself, or the one that it reuses it of."""
    current = run
    while True:
        executed = current.step_keys_to_execute
        if executed is None or step_key in executed or current.parent_run_id is None:
            return current.run_id
        before = find(current.parent_run_id)
        if before is None:
            return current.parent_run_id
        current = before


def reusable_runs(run: dg.DagsterRun, step_key: str, find: FindRun) -> list[str]:
    """The runs before a run that have items which a step of it may reuse.

    Args:
        run: the run.
        step_key: the step.
        find: gives a run by its id; None where it was deleted.

    Returns:
        ids, the most recent run last.
    """
    found: list[str] = []
    current = run
    while current.parent_run_id and _goes_on(current, step_key):
        before = find(current.parent_run_id)
        if before is None or before.run_id in found:
            break
        found.append(before.run_id)
        current = before
    return found[::-1]


def _goes_on(run: dg.DagsterRun, step_key: str) -> bool:
    """Whether a step of a run goes on from what the run before has done of it."""
    executed = run.step_keys_to_execute
    if executed is not None and step_key not in executed:
        return True  # it is what it was in the run before
    own_id, *steps = run.tags.get(REUSE_TAG, "").split(" ")
    if own_id == run.run_id:
        return step_key in steps
    return run.tags.get(_FROM_FAILURE) == "true"
