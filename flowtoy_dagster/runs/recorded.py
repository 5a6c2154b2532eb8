"""Runs that are recorded or replayed: their beginning and their end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from flowtoy_dagster.engine.executors.kinds import executor_of
from flowtoy_dagster.errors import RunError, UsageError, system_reason
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.flow.param_values import see_params
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.status.models import RunStatus
from flowtoy_dagster.store.recordings.recorder import hide_all
from flowtoy_dagster.store.recordings.recording import (
    Recording,
    UnreadableRecordingError,
    to_record,
    to_replay,
)


def recording_for(
    flow: Flow, record: str | Path | None, replay: str | Path | None
) -> Recording | None:
    """What a run is recorded to or replayed from; None where it is neither.

    Args:
        flow: what is run.
        record: the folder of a new recording.
        replay: the folder of one that there is.

    Raises:
        UsageError: both are given, there is no recording, or steps run elsewhere.
    """
    if record is None and replay is None:
        return None
    if record is not None and replay is not None:
        raise UsageError("a run is either recorded or replayed: give --record or --replay")
    executor = executor_of(flow.runner)
    if not executor.is_local:
        raise UsageError(
            f"the executor '{executor.name}' runs steps on other machines, which have no access to"
            " the recording\n    --executor warm runs them on this one"
        )
    return to_record(record) if record is not None else to_replay(replay or "")


@contextlib.contextmanager
def begun(recording: Recording | None, flow: Flow) -> Iterator[None]:
    """Begin a recording for a run that is created in the block.

    Raises:
        UsageError: the folder can't be taken.
    """
    if recording is None or recording.replays:
        yield
        return
    recording.begin(FlowSecrets(flow).mask(os.environ).text(flow.name))
    try:
        yield
    except BaseException:
        recording.drop()
        raise


def end_recording(
    history: History, recording: Recording, flow: Flow, status: RunStatus, mask: Mask
) -> None:
    """Complete what was recorded when the run has ended.

    Args:
        history: the home of the run.
        recording: of the run.
        flow: what was run.
        status: how it ended.
        mask: hides all that the run knows to be secret.

    Raises:
        RunError: it can't be completed.
    """
    try:
        known = FlowSecrets(flow).mask(os.environ).including(see_params(flow, os.environ).secrets)
        if mask.values - known.values:
            hide_all(recording, mask)
        # As the steps of the run see it.
        record = history.instance.get_run_record_by_id(status.run_id)
        folder = {} if flow.folder is None else {"folder": mask.text(flow.folder)}
        recording.describe({
            "flow": mask.text(flow.name), "run": status.run_id, **folder,
            "started_at": record.start_time if record else None, "state": status.state,
        })
    except UnreadableRecordingError as error:
        raise RunError(f"the recording can't be completed: {error}") from None
    except OSError as error:
        reason = system_reason(error)
        raise RunError(f"the recording can't be completed: {reason}") from None
