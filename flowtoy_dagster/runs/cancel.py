"""Ending a run from outside, wherever it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import dagster as dg

from flowtoy_dagster.errors import FlowtoyError, RunError, UsageError
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.sessions.carriers import (
    carrier,
    close_run,
    is_interrupted,
    session_of,
    unseen,
)
from flowtoy_dagster.runs.sessions.sessions import Carrier, Session
from flowtoy_dagster.runs.status.event_reader import run_state_of

PATIENCE = 15.0
"""Seconds that a run has to end once it was asked to."""


def cancel_run(history: History, run: dg.DagsterRun) -> None:
    """End a run and wait until it has ended.

    Raises:
        UsageError: it has ended already.
        RunError: it can't be reached from here, does not end, or ended otherwise meanwhile.
    """
    if run.is_finished:
        raise UsageError(f"run {run.run_id[:8]} has ended already")
    found = carrier(run)
    if found is None:
        # Not started by this command line: what queued or launched it knows how to end it.
        if not history.instance.run_coordinator.cancel_run(run.run_id):
            raise RunError(f"run {run.run_id[:8]} can't be ended by its launcher")
    elif found is Carrier.UNKNOWN:
        raise RunError(f"{unseen(run)}; cancel it there otherwise")
    else:
        interrupt_elsewhere(run)
    _tell_other_end(_ended(history, run, PATIENCE + _grace(history, run)))


def _grace(history: History, run: dg.DagsterRun) -> float:
    """Seconds that steps which run in any case have, once a run was asked to end."""
    try:
        return history.flow(run).grace
    except FlowtoyError:
        return 0.0


def _ended(history: History, run: dg.DagsterRun, patience: float) -> dg.DagsterRun | None:
    """Wait until a run has ended; gives it as it is then, or None where it was deleted."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        current = history.instance.get_run_by_id(run.run_id)
        if current is None or current.is_finished:
            return current
        if is_interrupted(history.instance, current):
            close_run(history.instance, current, cancelled=True)
        else:
            time.sleep(0.1)
    raise RunError(f"run {run.run_id[:8]} has not ended within {patience:.0f} s")


def _tell_other_end(run: dg.DagsterRun | None) -> None:
    """Raise where a run has ended by itself before it was cancelled."""
    if run is not None and run.status != dg.DagsterRunStatus.CANCELED:
        state = run_state_of(run.status)
        raise RunError(f"run {run.run_id[:8]} {state} before it could be cancelled")


def interrupt_elsewhere(run: dg.DagsterRun) -> bool:
    """Ask a run to end that another process of this machine carries; whether there is one.

    Nothing is stored here: the process does that, so that a run which is ending ends as it does.
    """
    if carrier(run) is not Carrier.ALIVE:
        return False
    session = Session.parse(session_of(run) or "")
    assert session is not None, "a process that lives has a session"
    with contextlib.suppress(ProcessLookupError):
        os.kill(session.process, signal.SIGTERM)
    return True
