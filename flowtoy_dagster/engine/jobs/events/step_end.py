"""Reports the end of a step to Dagster: its outputs, that it was skipped, or why it failed."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from flowtoy_dagster.engine.jobs.events.event_text import (
    CHECK,
    SKIPPED,
    bounded,
    code_block,
    noted,
)
from flowtoy_dagster.engine.jobs.events.loops import item_table
from flowtoy_dagster.engine.tags import DONE, FAILURES_TAG, RESULT
from flowtoy_dagster.flow.graph import Step
from flowtoy_dagster.steps.attempts import StepOutcome
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.stages import RUN_OUT_OF_TIME


class StepEnd:
    """Reports the end of a step.

    Args:
        step: what has ended.
        has_done: whether its op has the output `done`, which it gives however the step ends.
    """

    def __init__(self, step: Step, has_done: bool) -> None:
        self._step = step
        self._has_done = has_done

    def events(
        self,
        context: dg.OpExecutionContext,
        attempt: StepContext,
        outcome: StepOutcome,
        summaries: Mapping[str, Any],
    ) -> Iterator[Any]:
        """What an op yields at the end of its step.

        Raises:
            dg.Failure: the step failed, and the flow does not tolerate that.
        """
        step, key = self._step, context.op_handle.name
        if self._has_done:
            yield dg.Output(key, DONE)
        if outcome.skipped is not None:
            # Its dependents start, and decide by what they need of it (language 19.2).
            context.log.info("Step '%s' is skipped: %s", step.name, bounded(outcome.skipped))
            yield noted(True, SKIPPED, outcome.skipped, {"step": step.name})
            yield dg.Output(key, RESULT, metadata={"skipped": bounded(outcome.skipped)})
        elif outcome.succeeded:
            shown = {name: summary.as_json() for name, summary in summaries.items()}
            metadata = {"outputs": dg.MetadataValue.json(shown), **self._item_table(attempt)}
            yield dg.Output(key, RESULT, metadata=metadata)
        elif step.on_error == "fail" or (
            outcome.error == RUN_OUT_OF_TIME and not step.is_closing
        ):
            raise self.failure(outcome, self._item_table(attempt))
        else:
            reason = bounded(outcome.error or "")
            context.log.error("Step '%s' failed and is tolerated: %s", step.name, reason)
            context.instance.add_run_tags(context.run_id, {FAILURES_TAG: context.run_id})
            facts = {**self._facts(outcome), **self._item_table(attempt)}
            yield noted(False, CHECK, outcome.error or "", facts)

    def failure(self, outcome: StepOutcome, more: Mapping[str, Any] | None = None) -> dg.Failure:
        """A failed step, as an op raises it."""
        return dg.Failure(
            f"{failure_prefix(self._step.name)}{bounded(outcome.error or '')}",
            metadata={**self._facts(outcome), **(more or {})},
            allow_retries=False,
        )

    def _facts(self, outcome: StepOutcome) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "step": self._step.name,
            "called": bounded(outcome.called),
            "reason": bounded(outcome.error or ""),
        }
        if outcome.result is not None and outcome.result.code is not None:
            facts["code"] = outcome.result.code
        if outcome.stderr:
            facts["stderr"] = dg.MetadataValue.md(code_block(bounded(outcome.stderr)))
        return facts

    def _item_table(self, attempt: StepContext) -> dict[str, Any]:
        if self._step.for_each is None:
            return {}
        return item_table(attempt.loop.log, attempt.mask.current)


def failure_prefix(name: str) -> str:
    """How the description of a failure of a step of that name begins."""
    return f"Step '{name}' failed: "
