"""At the end of a run: which cursors move, and what holds the others back (language 22.3)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster import DagsterEvent

from flowtoy_dagster.engine.jobs.dagster_names import step_keys
from flowtoy_dagster.engine.jobs.incremental.commit import CursorCommit
from flowtoy_dagster.engine.jobs.incremental.ends import CursorEnd, cursor_event
from flowtoy_dagster.engine.jobs.incremental.loop_commit import LoopCommit, loop_commit
from flowtoy_dagster.engine.jobs.recordings.of_run import is_replay
from flowtoy_dagster.engine.jobs.reuse import Origins
from flowtoy_dagster.errors import RunError
from flowtoy_dagster.flow.graph import Flow, Step, steps_after
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.steps.state.cursors import NEVER_STORED, CursorUse
from flowtoy_dagster.steps.words import one_line
from flowtoy_dagster.store.cursors import cursors_of
from flowtoy_dagster.store.record import StepRecord
from flowtoy_dagster.store.records import records_of

logger = logging.getLogger("flowtoy.store")


class CursorsAtEnd:
    """Stores the cursors of a flow's steps when a run of it ends.

    Called by the process that executes the run, when its steps have ended, however they have.

    Args:
        flow: what is run.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._keys = step_keys(step.name for step in flow.steps)

    def __call__(self, context: Any, ended: Mapping[str, str]) -> Iterator[DagsterEvent]:
        """Store what can be stored; gives an event that reports on each cursor.

        Args:
            context: Dagster's context of the run.
            ended: how steps have ended that the run has executed, by key: `succeeded`, `failed`.
        """
        run = context.dagster_run
        try:
            ends = self.store(run, context.instance, ended)
        except Exception as error:
            logger.debug("cursors of run %s", run.run_id, exc_info=True)
            logger.warning("the cursors of the run can't be stored: %s", one_line(error))
            return
        if ends:
            yield cursor_event(context, ends)

    def store(
        self, run: dg.DagsterRun, instance: dg.DagsterInstance, ended: Mapping[str, str]
    ) -> list[CursorEnd]:
        """Store what can be stored; gives what has become of each cursor."""
        judge = _Judge(self._flow, self._keys, run, instance, ended)
        return [
            judge.end_of(step) for step in self._flow.steps
            if step.incremental is not None and step.incremental.commit == "run"
        ]


class _Judge:
    """What is known of one run."""

    def __init__(
        self,
        flow: Flow,
        keys: Mapping[str, str],
        run: dg.DagsterRun,
        instance: dg.DagsterInstance,
        ended: Mapping[str, str],
    ) -> None:
        self._flow = flow
        self._keys = keys
        self._run = run
        self._ended = ended
        self._records = records_of(instance.storage_directory())
        self._cursors = cursors_of(instance.root_directory)
        self._origins = Origins(run, instance.get_run_by_id)
        self._lineage = self._origins.lineage()
        self._mask = FlowSecrets(flow).mask(os.environ)

    def end_of(self, step: Step) -> CursorEnd:
        """Store a step's new value, unless something holds it back."""
        record = self._record(step)
        mask = self._mask
        if record is not None:
            mask = mask.including(record.secrets)
        read = record if record is not None and record.state == "succeeded" else None
        try:
            commit = self._commit(step, read, mask)
        except RunError as error:
            return self._commit(step, None, mask).report("held", mask.text(str(error)))
        has_read = read is not None and (step.for_each is not None or read.cursor is not None)
        if record is not None and record.state == "skipped":
            reason = f"the step was skipped: {record.error}"
            return commit.report("unchanged", mask.text(reason))
        if is_replay(self._run):
            return commit.report("unchanged", "a replay moves no cursor")
        held = self._held_by(step) if commit.moves or not has_read else None
        if held is not None:
            return commit.report("held", mask.text(held))
        if not has_read:
            return commit.report("unchanged", "the step has read none")
        return commit.store(self._cursors)

    def _commit(
        self, step: Step, record: StepRecord | None, mask: Mask
    ) -> CursorCommit | LoopCommit:
        """What a step that has succeeded has to store; raises RecordError where it can't be read.

        Args:
            step: the step.
            record: its record; None where it has not succeeded.
            mask: hides secrets in what is shown.
        """
        place = self._flow.name, step.name, self._keys[step.name]
        if step.for_each is not None:
            items = record.item_results() if record is not None else ()
            return loop_commit(place, items, mask, self._run.run_id, self._lineage)
        use = record.cursor if record is not None else None
        use = use or CursorUse("", NEVER_STORED, None, None)
        return CursorCommit(*place, use, mask, self._run.run_id, self._lineage)

    def _held_by(self, step: Step) -> str | None:
        """What holds a step's value back; None where nothing does."""
        wanted = {step.name, *steps_after(self._flow, [step.name])}
        for each in self._flow.steps:
            reason = self._why_not(each, step) if each.name in wanted else None
            if reason is not None:
                return f"the step {reason}" if each is step else f"'{each.name}' {reason}"
        return None

    def _why_not(self, step: Step, first: Step) -> str | None:
        """Why a step has not done what it must have done after another; None where it has."""
        end = self._ended.get(self._keys[step.name])
        record = self._record(step)
        if end == "failed" or (record is not None and record.state == "failed"):
            return "failed"
        if record is None or (end is None and self._is_executed(step)):
            # What runs only after failures was not needed.
            return None if step.run_if == "failure" else "did not run to its end"
        if self._is_executed(first) and not self._is_executed(step) and step.run_if != "failure":
            return "did not run after it"
        if step is first:
            return None  # its items that failed keep their own cursors
        failed = (record.counts or {}).get("failed", 0)
        return f"failed for {failed} of its items" if failed else None

    def _is_executed(self, step: Step) -> bool:
        executed = self._run.step_keys_to_execute
        return executed is None or self._keys[step.name] in executed

    def _record(self, step: Step) -> StepRecord | None:
        key = self._keys[step.name]
        return self._records.read(self._origins.of(key), key)

