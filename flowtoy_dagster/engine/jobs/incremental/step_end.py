"""Storing a step's cursor when the step ends: `commit: step` (language 22.3)."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from flowtoy_dagster.engine.jobs.incremental.commit import CursorCommit
from flowtoy_dagster.engine.jobs.incremental.ends import cursor_check
from flowtoy_dagster.engine.jobs.incremental.loop_commit import LoopCommit, loop_commit
from flowtoy_dagster.steps.attempts import StepOutcome
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.store.cursors import cursors_of


def store_with_step(
    context: dg.OpExecutionContext, attempt: StepContext, outcome: StepOutcome
) -> Iterator[dg.ExpectationResult]:
    """Store the cursors of a step that wants it at its own end; gives an event that reports it.

    Args:
        context: the op's.
        attempt: the attempt that has ended.
        outcome: how; its record is written.
    """
    config, use = attempt.step.incremental, outcome.cursor
    if config is None or config.commit != "step" or not outcome.succeeded:
        return
    place = attempt.run.name, attempt.step.name, context.op_handle.name
    commit: CursorCommit | LoopCommit
    if attempt.step.for_each is not None:
        items = attempt.loop.log.results()
        commit = loop_commit(place, items, outcome.mask, context.run_id, attempt.loop.runs)
    elif use is not None:
        commit = CursorCommit(*place, use, outcome.mask, context.run_id)
    else:
        return
    yield cursor_check(commit.store(cursors_of(context.instance.root_directory)))
