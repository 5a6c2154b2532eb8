"""Runs and the processes that carry them: what can be seen of them, and closing what was left.

Who only looks never writes: a run whose process is gone is shown as interrupted, and stays as it is
in the history until its owner repairs, cancels or retries it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus

from flowtoy_dagster.engine.jobs.limits import free_slots
from flowtoy_dagster.runs.sessions.sessions import Carrier, Session, carrier_of, session_id

SESSION_TAG = "flowtoy/session"
INTERRUPTED = "interrupted: the process that executed this run is gone"
CLOSED_UNSEEN = "interrupted: closed by `flowtoy runs repair`, without its process being seen"
UNFINISHED = (
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)


def session_of(run: dg.DagsterRun) -> str | None:
    """The session that carries a run; None for runs that others launch."""
    session, _, run_id = run.tags.get(SESSION_TAG, "").rpartition("/")
    # A re-execution inherits the tags of its parent, which another process carried.
    return session if run_id == run.run_id else None


def session_tag(run_id: str, pid: int | None = None) -> str:
    """The tag's value for a run that a process carries; this one by default."""
    return f"{session_id(pid)}/{run_id}"


def carrier(run: dg.DagsterRun) -> Carrier | None:
    """What is known of the process that carries a run; None for runs that others launch."""
    session = session_of(run)
    return None if session is None else carrier_of(session)


def is_interrupted(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether it is certain that the process of a run is gone, and the run had not ended."""
    if run.is_finished or carrier(run) is not Carrier.GONE:
        return False
    # It may have ended since the run was read, and reported that.
    current = instance.get_run_by_id(run.run_id)
    return current is not None and not current.is_finished


def close_run(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    reason: str = INTERRUPTED,
    *,
    cancelled: bool = False,
    ended_at: float | None = None,
) -> None:
    """Store that a run has ended whose process did not, and give its slots of pools back.

    Args:
        instance: where the run is.
        run: a run that has not ended.
        reason: why it has ended.
        cancelled: whether its end was requested.
        ended_at: when it ended, in seconds since 1970; None for now.
    """
    is_cancelled = cancelled or run.status == DagsterRunStatus.CANCELING
    kind = DagsterEventType.RUN_CANCELED if is_cancelled else DagsterEventType.RUN_FAILURE
    event = dg.DagsterEvent(kind.value, run.job_name, message=reason)
    instance.report_dagster_event(event, run.run_id, logging.ERROR, timestamp=ended_at)
    free_slots(instance, run.run_id)


def last_sign_of_life(instance: dg.DagsterInstance, run: dg.DagsterRun) -> float | None:
    """When a run was last heard of: its newest event, or what its steps have printed since.

    Returns:
        seconds since 1970; None where nothing is known.
    """
    newest = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    signs = [record.timestamp for record in newest]
    logs: Any = instance.compute_log_manager
    with contextlib.suppress(AttributeError, OSError):
        folder = Path(logs.get_captured_local_path([run.run_id, "compute_logs", "x"], "out")).parent
        signs += [entry.stat().st_mtime for entry in os.scandir(folder)]
    return min(max(signs), time.time()) if signs else None


LAUNCHED = (
    "end it where it was launched, or on Dagster's page: Terminate, and where its process is gone"
    " 'Force termination immediately'"
)
"""The way out of a run that others launched."""


def unseen(run: dg.DagsterRun) -> str:
    """What to say of a run whose process can't be seen, with the way out."""
    session = Session.parse(session_of(run) or "")
    place = session.place if session else "an unknown process"
    return (
        f"run {run.run_id[:8]} is executed by {place}, which can't be seen from here\n"
        f"    if that process is gone, `flowtoy runs repair {run.run_id[:8]}` closes the run,"
        " and `flowtoy retry` can go on from it"
    )
