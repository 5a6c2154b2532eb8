"""How a step knows that its run is recorded or replayed: by a tag, and by what is stored of it.

The tag has no path in it. It counts only for the run itself: a re-execution has the tags of the run
before, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import dagster as dg

from flowtoy_dagster.engine.tags import RECORDING_TAG
from flowtoy_dagster.errors import RunError, StepError
from flowtoy_dagster.steps.attempts import StepOutcome, fail_step
from flowtoy_dagster.steps.chain import Failed
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.store.recordings.recorder import RecordedCursors, Recorder
from flowtoy_dagster.store.recordings.recording import (
    Mode,
    Recording,
    UnreadableRecordingError,
    started_at,
)
from flowtoy_dagster.store.recordings.replayer import ReplayedCursors, Replayer
from flowtoy_dagster.store.recordings.unrecorded import UnrecordedCall
from flowtoy_dagster.store.records import RecordStore


def recording_tag(run_id: str, mode: Mode) -> str:
    """The value of the tag of a run that is recorded or replayed."""
    return f"{run_id} {mode}"


def is_recorded(run: dg.DagsterRun) -> bool:
    """Whether a run is recorded or replayed."""
    return run.tags.get(RECORDING_TAG, "").partition(" ")[0] == run.run_id


def is_replay(run: dg.DagsterRun) -> bool:
    """Whether the calls of a run are answered from a recording."""
    return run.tags.get(RECORDING_TAG) == recording_tag(run.run_id, "replay")


class RunRecording(NamedTuple):
    """How the steps of one run make their calls.

    Attributes:
        run_id: the run.
        store: where its records are.
        recording: what it is recorded to or replayed from; None where it is neither.
    """

    run_id: str
    store: RecordStore
    recording: Recording | None = None

    @classmethod
    def of(cls, run: dg.DagsterRun, store: RecordStore) -> RunRecording:
        """What is stored of a run.

        Raises:
            RunError: it is gone.
        """
        if not is_recorded(run):
            return cls(run.run_id, store)
        found = store.recording(run.run_id)
        if found is None:
            raise RunError("what is stored of the run's recording is gone")
        return cls(run.run_id, store, found)

    def run_info(self, run: RunInfo) -> RunInfo:
        """What templates know of the run: in a replay, the id, start and folder of the recorded."""
        if self.recording is None or not self.recording.replays:
            return run
        began = started_at(self.recording)
        try:
            run_id = str(self.recording.about.get("run") or run.id)
        except UnreadableRecordingError as error:
            raise RunError(str(error)) from None
        when = run.started_at if began is None else lambda: began
        where = self.recording.about.get("folder") or run.folder.path
        folder = run.folder._replace(recorded=where)
        return replace(run, id=run_id, root_id=run_id, started_at=when, folder=folder)

    def attempt(self, attempt: StepContext) -> StepContext:
        """An attempt whose calls are recorded or answered."""
        recording, cursors = self.recording, attempt.cursors
        if recording is None:
            return attempt
        if recording.replays:
            note = self._note
            return attempt.having(
                exchanges=Replayer(recording, note), cursors=ReplayedCursors(recording),
                limiter=None, slots=None, has_hidden=True,
            )
        if cursors is not None:
            secret = attempt.step.has_secret_cursor
            cursors = RecordedCursors(recording, cursors, secret=secret)
        return attempt.having(exchanges=Recorder(recording), cursors=cursors)

    def _note(self, call: UnrecordedCall) -> None:
        self.store.note_unrecorded(self.run_id, call)


def closed(attempt: StepContext, outcome: StepOutcome) -> StepOutcome:
    """The outcome of an attempt when all its calls are recorded; failed where they can't be."""
    if isinstance(attempt.exchanges, Recorder):
        try:
            attempt.exchanges.close()
        except StepError as error:
            attempt.work.result = None
            return fail_step(attempt, Failed(error.message, error.kind))
    return outcome
