"""Telling others that a run has ended, as the flow says (language 19.6)."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterRunStatus

from flowtoy_dagster.engine.jobs.recordings.of_run import is_replay
from flowtoy_dagster.engine.storage.instances import limiter_of
from flowtoy_dagster.engine.tags import FLOW_TAG, NOTIFIED_TAG
from flowtoy_dagster.errors import FlowtoyError, HomeError
from flowtoy_dagster.flow.graph import Flow, Notification
from flowtoy_dagster.flow.param_values import see_params
from flowtoy_dagster.flow.schema.models import RunEnd
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.status.models import RunState, RunStatus
from flowtoy_dagster.steps.attempts import run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo, utc
from flowtoy_dagster.steps.state.deadline import RUN_OUT_OF_TIME
from flowtoy_dagster.steps.state.flow_folder import FlowFolder
from flowtoy_dagster.steps.state.mask import StepMask
from flowtoy_dagster.store.tokens import tokens_of

logger = logging.getLogger("flowtoy.notify")

_NOT_SENT = "notifications could not be sent: %s"
LONGEST = 10.0
"""Seconds that one notification may take."""
_MOMENT = 1.5
"""Seconds that notifications have after SIGTERM, so that most of them are sent."""
_LOOKED_BACK = 50
"""Runs of a flow among which the one before another is looked for."""
_ENDS: dict[RunState, RunEnd] = {
    "succeeded": "success", "failed": "failure", "cancelled": "cancelled"
}


def notify_of_end(history: History, run: dg.DagsterRun, flow: Flow, status: RunStatus) -> None:
    """Make the calls that a flow wants when a run has ended. One that fails is a warning.

    Args:
        history: the home that the run is part of.
        run: a run that has ended.
        flow: what was run.
        status: how the run and its steps ended.
    """
    if is_replay(run):
        return  # it calls nothing
    try:
        if not flow.notifications or not _is_ours_to_send(history, run.run_id):
            return
    except HomeError as error:
        logger.warning(_NOT_SENT, error)
        return
    ends = _ends_of(history, run, flow, status)
    try:
        with _heeding_term():
            for notification in flow.notifications:
                if notification.on & ends:
                    _send(history, flow, status, notification)
    except _Terminated:
        logger.warning(_NOT_SENT, "the process was ended by SIGTERM")


class _Terminated(BaseException):
    """SIGTERM came, and the moment that it leaves is over."""


@contextlib.contextmanager
def _heeding_term() -> Iterator[None]:
    """End a block a moment after SIGTERM, or at another one, with the commands that run there.

    Raises:
        _Terminated: the block was ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are not ours to handle
        return

    def end(*_: object) -> None:
        raise _Terminated

    def hear(number: int, _: object) -> None:
        signal.signal(number, end)
        timer.start()

    timer = threading.Timer(_MOMENT, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    before = signal.signal(signal.SIGTERM, hear)
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _is_ours_to_send(history: History, run_id: str) -> bool:
    """Whether no other process has begun to notify; from here on, none does.

    The mark comes before the calls: who is killed in between has sent nothing, and nobody sends
    it twice. A re-execution has the tags of the run before, whose id it is not.
    """
    with history.configs.alone():
        current = history.instance.get_run_by_id(run_id)
        if current is None or current.tags.get(NOTIFIED_TAG) == run_id:
            return False
        history.instance.add_run_tags(run_id, {NOTIFIED_TAG: run_id})
    return True


def notify_from(home: Path, run_id: str) -> None:
    """The same for a run of which only the history in a home knows."""
    try:
        with History(home) as history:
            _notify_of_run(history, run_id)
    except FlowtoyError as error:
        logger.warning(_NOT_SENT, error)


def _notify_of_run(history: History, run_id: str) -> None:
    run = history.instance.get_run_by_id(run_id)
    if run is None or not run.is_finished:
        return
    flow = history.flow(run)
    notify_of_end(history, run, flow, history.status(run, flow))


def _ends_of(
    history: History, run: dg.DagsterRun, flow: Flow, status: RunStatus
) -> frozenset[RunEnd]:
    end = _ENDS.get(status.state)
    if end is None:
        return frozenset()
    wanted = frozenset[RunEnd]().union(*(each.on for each in flow.notifications))
    if end == "success" and "recovered" in wanted:
        before = _previous_end(history, run, flow.name)
        if before == DagsterRunStatus.FAILURE:
            return frozenset({"success", "recovered"})
    return frozenset({end})


def _previous_end(history: History, run: dg.DagsterRun, flow: str) -> DagsterRunStatus | None:
    """How the run of a flow ended that came before this one, if one succeeded or failed."""
    statuses = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]
    wanted = dg.RunsFilter(tags={FLOW_TAG: flow}, statuses=statuses)
    own = history.instance.get_run_record_by_id(run.run_id)
    for record in history.instance.get_run_records(wanted, limit=_LOOKED_BACK):
        is_before = own is None or record.create_timestamp <= own.create_timestamp
        if record.dagster_run.run_id != run.run_id and is_before:
            return record.dagster_run.status
    return None


def _send(history: History, flow: Flow, status: RunStatus, notification: Notification) -> None:
    params = see_params(flow, os.environ)
    mask = FlowSecrets(flow).mask(os.environ).including(params.secrets)
    started = status.started_at or status.created_at or time.time()
    context = StepContext(
        step=notification.call,
        run=RunInfo(
            status.run_id, flow.name, lambda: started, params, ended=_facts(status, started),
            folder=FlowFolder.of(flow),
        ),
        deadline=time.monotonic() + LONGEST,
        mask=StepMask(mask),
        limiter=limiter_of(history.instance),
        tokens=tokens_of(history.instance.root_directory),
    )
    outcome = run_step(context, flow.sources, {})
    if outcome.error is not None:
        reason = outcome.error
        if reason == RUN_OUT_OF_TIME:
            reason = f"timed out after {LONGEST:g} s"
        logger.warning("%s could not be sent: %s", notification.call.name, reason)


def _facts(status: RunStatus, started: float) -> dict[str, Any]:
    """What templates know of the run, besides its id, its name and its start."""
    failed = [name for name, step in status.steps.items() if step.state == "failed"]
    reasons = [f"'{name}': {status.steps[name].error}" for name in failed]
    ended = status.ended_at or time.time()
    return {
        "state": status.state,
        "failed": failed,
        "error": reasons[0] if reasons else status.error,
        "ended_at": utc(ended),
        "seconds": round(max(0.0, ended - started), 3),
    }
