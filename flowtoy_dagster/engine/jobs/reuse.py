"""Which earlier runs have items that a repeated step may reuse (language 18.9)."""

from collections.abc import Callable, Iterable, Iterator

import dagster as dg

from flowtoy_dagster.engine.tags import REUSE_TAG

_FROM_FAILURE = "dagster/is_resume_retry"
"""The tag by which Dagster's re-execution from failure is known."""

FindRun = Callable[[str], dg.DagsterRun | None]


def reuse_tag(run_id: str, step_keys: Iterable[str]) -> str:
    """The value of the tag of a retry, which names the steps whose items it may reuse."""
    return " ".join([run_id, *sorted(step_keys)])


class Origins:
    """Which runs executed the steps of a run: the run itself, or those that it reuses them of.

    The runs before it are looked for when they are needed, each once.

    Args:
        run: the run.
        find: gives a run by its id; None where it was deleted.
    """

    def __init__(self, run: dg.DagsterRun, find: FindRun) -> None:
        self._find = find
        self._found = [_executed(run)]
        self._next = run.parent_run_id

    def of(self, step_key: str) -> str:
        """The id of the run that executed a step."""
        for run_id, executed in self._runs():
            if executed is None or step_key in executed:
                return run_id
        return self._found[-1][0]

    def lineage(self) -> list[str]:
        """The ids of the run and of those that it is a retry of, the nearest first."""
        return [run_id for run_id, _ in self._runs()]

    def _runs(self) -> Iterator[tuple[str, frozenset[str] | None]]:
        yield from self._found
        while self._next is not None and self._next not in (found[0] for found in self._found):
            before = self._find(self._next)
            self._found.append(_executed(before) if before is not None else (self._next, None))
            self._next = before.parent_run_id if before is not None else None
            yield self._found[-1]


def _executed(run: dg.DagsterRun) -> tuple[str, frozenset[str] | None]:
    """A run's id, and the keys of the steps that it executed; None where it was to be all."""
    keys = run.step_keys_to_execute
    return run.run_id, frozenset(keys) if keys is not None else None


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
