"""Closing runs whose process is gone without having stored how they ended."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.sessions.carriers import (
    CLOSED_UNSEEN,
    INTERRUPTED,
    LAUNCHED,
    UNFINISHED,
    carrier,
    close_run,
    is_interrupted,
    last_sign_of_life,
    unseen,
)
from flowtoy_dagster.runs.sessions.sessions import Carrier


def repair_all(history: History) -> Iterator[str]:
    """Close all runs whose process is certainly gone; gives a line for each that has not ended."""
    for run in history.own_runs(UNFINISHED):
        if is_interrupted(history.instance, run):
            _close(history, run)
            yield f"run {run.run_id[:8]}: its process is gone; {_closed(history, run)}"
        elif carrier(run) is Carrier.UNKNOWN:
            yield f"left as it is: {unseen(run)}"


def repair_run(history: History, run: dg.DagsterRun, *, is_named: bool) -> str:
    """Close one run; gives a line that says what was done.

    Args:
        history: the home of the run.
        run: the run.
        is_named: whether the user has named this run by its id: then their word counts where the
            process can't be seen.

    Raises:
        UsageError: it has ended, or is active, or others launch it, or its state can't be known.
    """
    found, short = carrier(run), run.run_id[:8]
    if run.is_finished:
        raise UsageError(f"run {short} has ended already")
    if found is None:
        raise UsageError(f"run {short} was launched by Dagster\n    {LAUNCHED}")
    if found is Carrier.ALIVE:
        raise UsageError(f"run {short} goes on; `flowtoy cancel {short}` ends it")
    if found is Carrier.UNKNOWN:
        if not is_named:
            raise UsageError(unseen(run))
        _close(history, run, CLOSED_UNSEEN)
        return f"run {short}: you say that its process is gone; {_closed(history, run)}"
    if not is_interrupted(history.instance, run):
        raise UsageError(f"run {short} has ended already")
    _close(history, run)
    return f"run {short}: its process is gone; {_closed(history, run)}"


def _close(history: History, run: dg.DagsterRun, reason: str = INTERRUPTED) -> None:
    """Store that a run ended when it was last heard of, which may be long ago."""
    when = last_sign_of_life(history.instance, run)
    close_run(history.instance, run, reason, ended_at=when)


def _closed(history: History, run: dg.DagsterRun) -> str:
    current = history.find(run.run_id)
    state = "cancelled" if current.status == dg.DagsterRunStatus.CANCELED else "failed"
    return f"stored as {state}"
