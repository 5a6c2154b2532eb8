"""Forgets old runs, with all that is stored of them."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.sessions.carriers import is_interrupted
from flowtoy_dagster.store.cursors import cursors_of
from flowtoy_dagster.store.shared.shared_files import LOGS_FOLDER, shared_store
from flowtoy_dagster.store.store import open_store


def prune_runs(history: History, keep: int) -> list[str]:
    """Delete all but the latest `keep` runs, those that go on, and those whose outputs a kept
    one reuses; gives the ids.
    """
    runs = history.own_runs()
    kept = [run for index, run in enumerate(runs) if index < keep or _goes_on(history, run)]
    known = {run.run_id for run in runs}
    needed = _with_parents(kept, runs)
    deleted = []
    for run in (run for run in runs if run.run_id not in needed):
        # A retry is made in `keeping`: of a run that is there, and before that one goes.
        with history.configs.alone():
            needed |= _needed_by_new_runs(history, known)
            if run.run_id in needed:
                continue
            history.instance.delete_run(run.run_id)
        _forget_files(history, run)
        deleted.append(run.run_id)
    history.configs.delete_unused(lambda: _references(history))
    # What writers that were killed left behind belongs to no run.
    history.configs.clean()
    history.store.clean()
    cursors_of(history.home).clean()
    return deleted


def _needed_by_new_runs(history: History, known: set[str]) -> set[str]:
    """The runs that are not known yet, which are from now on, and those that they reuse."""
    newest = history.runs(1)
    if not newest or newest[0].run_id in known:
        return set()
    runs = history.own_runs()
    new = [run for run in runs if run.run_id not in known]
    known.update(run.run_id for run in new)
    return _with_parents(new, runs)


def _references(history: History) -> set[str]:
    """The references of the configurations that runs have."""
    return {found for run in history.own_runs() if (found := history.reference(run)) is not None}


def _goes_on(history: History, run: dg.DagsterRun) -> bool:
    return not run.is_finished and not is_interrupted(history.instance, run)


def _forget_files(history: History, run: dg.DagsterRun) -> None:
    """Delete the records and logs of a run that is deleted."""
    history.store.delete(run.run_id)
    for store in (open_store(history.home / LOGS_FOLDER), shared_store(history.home, LOGS_FOLDER)):
        store.delete(run.run_id)
    # Dagster empties the file of a run's events, and leaves it.
    for path in (history.home / "history" / "runs").glob(f"{run.run_id}.db*"):
        path.unlink(missing_ok=True)


def _with_parents(kept: Iterable[dg.DagsterRun], runs: Iterable[dg.DagsterRun]) -> set[str]:
    """The ids of runs and of those before them: a retry's reused outputs are theirs."""
    by_id = {run.run_id: run for run in runs}
    needed = set()
    for run in kept:
        current: dg.DagsterRun | None = run
        while current is not None and current.run_id not in needed:
            needed.add(current.run_id)
            current = by_id.get(current.parent_run_id or "")
    return needed
