"""Ending a run from outside, wherever it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import dagster as dg

from flowtoy_dagster.errors import RunError, UsageError
from flowtoy_dagster.runs.history import History, session_of
from flowtoy_dagster.runs.sessions import is_here, pid_of

PATIENCE = 15.0
"""Seconds that a run has to end once it was asked to."""


def cancel_run(history: History, run: dg.DagsterRun) -> None:
    """End a run and wait until it has ended.

    Raises:
        UsageError: it has ended already.
        RunError: it can't be reached from here, or does not end.
    """
    if run.is_finished:
        raise UsageError(f"run {run.run_id[:8]} has ended already")
    session = session_of(run)
    if session is None:
        # Not started by this command line: whoever queued or launched it knows how to end it.
        if not history.instance.run_coordinator.cancel_run(run.run_id):
            raise RunError(f"run {run.run_id[:8]} can't be ended by its launcher")
    elif not is_here(session):
        raise RunError(f"run {run.run_id[:8]} runs on {session.split('/')[0]}; cancel it there")
    else:
        interrupt_elsewhere(history.instance, run)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        current = history.instance.get_run_by_id(run.run_id)
        if current is None or current.is_finished:
            return
        history.mark_interrupted()
        time.sleep(0.1)
    raise RunError(f"run {run.run_id[:8]} has not ended within {PATIENCE:.0f} s")


def interrupt_elsewhere(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Ask a run to end that another process of this machine carries; whether there is one."""
    pid = pid_of(session_of(run) or "")
    if pid is None:
        return False
    instance.report_run_canceling(run)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    return True
