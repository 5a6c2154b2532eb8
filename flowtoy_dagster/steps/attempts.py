"""One attempt of a step, whatever happens in it: `run_step`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flowtoy_dagster.errors import StepError, met_by
from flowtoy_dagster.flow.files.suggestions import showing_by
from flowtoy_dagster.flow.graph import Source
from flowtoy_dagster.masking.mask import Mask, hide
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.kinds import describe
from flowtoy_dagster.steps.call_parts import forbids_retry
from flowtoy_dagster.steps.chain import Failed, Next, Outcome, Skipped
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.loops.for_each import ItemAttempt, for_each
from flowtoy_dagster.steps.needs import SkipStep
from flowtoy_dagster.steps.retry import next_delay
from flowtoy_dagster.steps.scope import Upstream, build_scope
from flowtoy_dagster.steps.stages import ATTEMPT, RUN_OUT_OF_TIME
from flowtoy_dagster.steps.state.cursors import CursorUse
from flowtoy_dagster.steps.state.items import ItemCounts
from flowtoy_dagster.steps.words import one_line, whole_text

logger = logging.getLogger("flowtoy.step")

STDERR_LINES = 10
SHOWN_CALL = 110
"""Characters of what is called that a failure shows."""


@dataclass(frozen=True)
class StepOutcome:
    """How one attempt of a step ended, and what follows.

    Attributes:
        error: why it failed, in one line; None where it did not.
        skipped: why it was not to run, in one line; None where it ran.
        outputs: values by name, in the order written; empty where it failed.
        result: what the provider gave; None where it was never called.
        stderr: the last lines of a failed command's stderr.
        called: what a failed step called, in a few words.
        retry_in: seconds until it should be tried again; None where it should not.
        max_retries: how often it may be tried again in all.
        mask: hides what the step knows to be secret; `error` and `stderr` are masked already.
        secrets: what it learned to be secret while it ran.
        hidden: the names of the outputs that are secret as a whole.
        counts: how many items ended how, of a step that is repeated.
        cursor: what it used and read of its cursor.
    """

    error: str | None = None
    skipped: str | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    result: ProviderResult | None = None
    stderr: str = ""
    called: str = ""
    retry_in: float | None = None
    max_retries: int = 0
    mask: Mask = field(default_factory=Mask)
    secrets: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    counts: ItemCounts | None = None
    cursor: CursorUse | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the step succeeded."""
        return self.error is None and self.skipped is None

    @property
    def state(self) -> str:
        """`succeeded`, `failed` or `skipped`."""
        if self.skipped is not None:
            return "skipped"
        return "succeeded" if self.error is None else "failed"

    def shown(self, outputs: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
        """Outputs as people see them: secret ones hidden, and what is secret in others."""
        return {
            name: hide(value) if name in self.hidden else mask.data(value)
            for name, value in outputs.items()
        }


def run_step(
    context: StepContext, sources: Mapping[str, Source], upstream: Mapping[str, Upstream]
) -> StepOutcome:
    """Run a step once.

    Args:
        context: the step, and everything that the attempt needs besides the flow.
        sources: the flow's named sources.
        upstream: the steps that it depends on, by written name.

    Returns:
        What came of it; a failure of any kind is an outcome, not an exception.

    Raises:
        BaseException: one of `context.interrupts`: the run was cancelled.
    """
    named = sources.get(context.step.source.name or "")
    context = context.having(
        scope=build_scope(upstream, sources, context.run),
        limited=named if named is not None and named.rates else None,
    )
    context.work.describe = lambda: describe(context.step.source)
    repeated = context.step.for_each is not None
    outcome = bounded_by(context, _attempt_items if repeated else _attempt)
    if isinstance(outcome, Failed):
        return fail_step(context, outcome)
    if isinstance(outcome, Skipped):
        mask = context.mask.current
        return StepOutcome(
            skipped=whole_text(mask.text(outcome.reason)), mask=mask, secrets=context.mask.learned
        )
    return StepOutcome(
        outputs=outcome.outputs,
        result=context.work.result,
        mask=context.mask.current,
        secrets=learned(context),
        hidden=frozenset(o.name for o in context.step.outputs if o.is_secret),
        counts=counts_of(context),
        cursor=context.work.cursor,
    )


def learned(context: StepContext) -> frozenset[str]:
    """What a step has learned to be secret, its items included."""
    return context.mask.learned | context.loop.progress.secrets


def counts_of(context: StepContext) -> ItemCounts | None:
    """How many items of a step ended how; None where it is not repeated."""
    return context.loop.progress.counts if context.step.for_each is not None else None


def bounded_by(context: StepContext, work: Next) -> Outcome:
    """The boundary of an attempt: whatever is raised in it is a failure with a reason."""
    try:
        with showing_by(context.mask.text):
            return work(context)
    except SkipStep as skip:
        return Skipped(skip.reason)
    except context.interrupts:
        raise
    except BaseException as error:
        interrupt = met_by(error, context.interrupts)
        if interrupt is not None:
            raise interrupt from error
        if isinstance(error, StepError):
            return Failed(error.message, error.kind)
        logger.debug("step '%s' failed unexpectedly", context.step.name, exc_info=True)
        return Failed(f"failed unexpectedly: {one_line(error, context.mask.text)}", "raised")


def _attempt(context: StepContext) -> Outcome:
    return _why_not(context) or ATTEMPT(context)


def _attempt_items(context: StepContext) -> Outcome:
    return _why_not(context) or for_each(context, _try_item)


def _why_not(context: StepContext) -> Failed | None:
    """Why an attempt can't be made at all."""
    if context.host.lost is not None:
        return Failed(context.host.lost, "crash")
    if context.deadline is not None and context.deadline <= context.time.now():
        return Failed(RUN_OUT_OF_TIME, "timeout")
    return None


def _try_item(context: StepContext) -> ItemAttempt:
    """One attempt of one item of a step, whatever happens in it."""
    outcome = bounded_by(context, _attempt)
    if not isinstance(outcome, Failed):
        return ItemAttempt(outcome)
    failed = fail_step(context, outcome)
    return ItemAttempt(Failed(failed.error or "", outcome.kind), failed.retry_in)


def fail_step(context: StepContext, failure: Failed) -> StepOutcome:
    """The outcome of a failed attempt, under the step's policy: whether another should follow."""
    try:
        delay, most = _next_attempt(context, failure)
        not_repeated = context.work.not_repeated  # which that has found out
    except StepError as error:
        delay, most = None, 0
        not_repeated = f"it is not tried again, because of its settings: {error.message}"
    mask, result, reason = context.mask.current, context.work.result, failure.reason
    if context.mask.is_holding:
        # Nobody knows what is secret in what the provider said.
        reason = _own_words(context, failure)
        result = replace(result, notes=(), data=None) if result is not None else None
    if not_repeated is not None:
        reason = f"{reason}; {not_repeated}"
    return StepOutcome(
        error=whole_text(mask.text(reason)),
        result=result,
        stderr=whole_text(mask.text(_last_lines(result))) if result is not None else "",
        called=mask.shortened(context.work.describe(), SHOWN_CALL),
        retry_in=delay,
        max_retries=most,
        mask=mask,
        secrets=learned(context),
        counts=counts_of(context),
    )


def _own_words(context: StepContext, failure: Failed) -> str:
    """Why an attempt failed, without anything that the provider said."""
    if failure.is_ours or failure.kind not in ("provider", "raised"):
        return failure.reason
    result, names = context.work.result, [output.name for output in context.step.outputs]
    secret = ", ".join(f"'{output.name}'" for output in context.step.outputs if output.is_secret)
    why = f"not kept, as it may hold a secret output: {secret}"
    if result is not None and result.success:
        name = next((one for one in names if failure.reason.startswith(f"output '{one}'")), None)
        taken = "the outputs can't" if name is None else f"output '{name}' can't"
        return f"{taken} be taken; the reason is {why}"
    code = result.code if result is not None else None
    failed = "the call failed" + (f" with code {code}" if code is not None else "")
    return f"{failed}; what it said is {why}"


def _next_attempt(context: StepContext, failure: Failed) -> tuple[float | None, int]:
    """Seconds until the next attempt, or None; and how many retries there are in all.

    Raises:
        StepError: the settings are wrong.
    """
    policy, result = context.step.retry, context.work.result
    with showing_by(context.mask.text):
        delay, most = next_delay(policy, context.scope, context.attempt, result, failure.kind)
    begun = result is not None or context.work.configuration or failure.kind == "crash"
    if delay is not None and begun and forbids_retry(context, result):
        return None, most
    left = context.seconds_left
    if delay is not None and left is not None and delay >= left:
        if left > 0:
            context.work.not_repeated = "it is not tried again: the run's timeout comes first"
        return None, most
    return delay, most


def _last_lines(result: ProviderResult) -> str:
    stderr = result.data.get("stderr") if isinstance(result.data, dict) else None
    return "\n".join(stderr.splitlines()[-STDERR_LINES:]) if isinstance(stderr, str) else ""
