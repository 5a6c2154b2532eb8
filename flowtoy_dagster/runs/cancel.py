"""Ending a run from outside, wherever it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from enum import Enum

import dagster as dg

from flowtoy_dagster.engine.executors.scheduling.cancel_requests import (
    request_cancel,
    request_of,
)
from flowtoy_dagster.engine.tags import CONFIG_TAG
from flowtoy_dagster.errors import FlowtoyError, RunError, UsageError
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.sessions.carriers import (
    LAUNCHED,
    carrier,
    close_run,
    is_interrupted,
    last_sign_of_life,
    session_of,
    unseen,
)
from flowtoy_dagster.runs.sessions.sessions import Carrier, Session
from flowtoy_dagster.runs.status.event_reader import run_state_of

PATIENCE = 15.0
"""Seconds that a run has to end once it was asked to."""


class Asked(Enum):
    """How the process that carries a run was asked to end it."""

    NOBODY = "there is none that could be"
    BY_SIGNAL = "it is on this machine"
    BY_REQUEST = "it is elsewhere, and looks for requests"


def cancel_run(history: History, run: dg.DagsterRun) -> None:
    """End a run and wait until it has ended.

    Raises:
        UsageError: it has ended already.
        RunError: it does not end, or ended otherwise meanwhile.
    """
    if run.is_finished:
        raise UsageError(f"run {run.run_id[:8]} has ended already")
    is_requested = False
    # What queued or launched it knows how to end it, where that was not this command line.
    if carrier(run) is not None or not _ended_by_launcher(history, run):
        is_requested = ask_to_end(history.instance, run) is Asked.BY_REQUEST
    patience = PATIENCE + _grace(history, run)
    _tell_other_end(_ended(history, run, patience, is_requested=is_requested))


def _ended_by_launcher(history: History, run: dg.DagsterRun) -> bool:
    try:
        return history.instance.run_coordinator.cancel_run(run.run_id)
    except dg.DagsterError:
        return False  # its launcher, or what that started, is not to be reached from here


def _grace(history: History, run: dg.DagsterRun) -> float:
    """Seconds that steps which run in any case have, once a run was asked to end."""
    try:
        return history.flow(run).grace
    except FlowtoyError:
        return 0.0


def _ended(
    history: History, run: dg.DagsterRun, patience: float, *, is_requested: bool
) -> dg.DagsterRun | None:
    """Wait until a run has ended; gives it as it is then, or None where it was deleted."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        current = history.instance.get_run_by_id(run.run_id)
        if current is None or current.is_finished:
            return current
        if is_interrupted(history.instance, current):
            when = last_sign_of_life(history.instance, current)
            close_run(history.instance, current, cancelled=True, ended_at=when)
            continue
        if is_requested and request_of(current) is None:
            # Who stored a state of the run meanwhile has written its tags as they were before.
            request_cancel(history.instance, run.run_id)
        time.sleep(0.1)
    raise RunError(_not_ended(run, patience))


def _not_ended(run: dg.DagsterRun, patience: float) -> str:
    short, found = run.run_id[:8], carrier(run)
    if found is Carrier.UNKNOWN:
        return f"{unseen(run)}\n    it was asked to end, and has not within {patience:.0f} s"
    if found is None:
        return (
            f"run {short} was launched by Dagster, and has not ended within {patience:.0f} s\n"
            f"    {LAUNCHED}"
        )
    return f"run {short} has not ended within {patience:.0f} s"


def _tell_other_end(run: dg.DagsterRun | None) -> None:
    """Raise where a run has ended by itself before it was cancelled."""
    if run is not None and run.status != dg.DagsterRunStatus.CANCELED:
        state = run_state_of(run.status)
        raise RunError(f"run {run.run_id[:8]} {state} before it could be cancelled")


def ask_to_end(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Asked:
    """Ask the process that carries a run to end it, wherever it is.

    Nothing else is stored here: the process does that, so that a run which is ending ends as it
    does.
    """
    found = carrier(run)
    if found is Carrier.GONE or (found is None and CONFIG_TAG not in run.tags):
        return Asked.NOBODY  # no job of ours: nothing in it looks for requests
    if found is not Carrier.ALIVE:
        request_cancel(instance, run.run_id)
        return Asked.BY_REQUEST
    session = Session.parse(session_of(run) or "")
    assert session is not None, "a process that lives has a session"
    with contextlib.suppress(ProcessLookupError):
        os.kill(session.process, signal.SIGTERM)
    return Asked.BY_SIGNAL
