"""`until`: a step is called again until its answer says that it is done (language 19.4)."""

from __future__ import annotations

from typing import NamedTuple

from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.flow.graph import ASKED_EVERY, Until
from flowtoy_dagster.outputs.kinds import OUTPUTS
from flowtoy_dagster.providers.kinds import PROVIDERS
from flowtoy_dagster.steps.chain import Failed, Next, Outcome
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.keys.turns import GivenUpError
from flowtoy_dagster.steps.keys.when import true_or_false
from flowtoy_dagster.steps.retry import timeout_of
from flowtoy_dagster.steps.state.deadline import RUN_OUT_OF_TIME, OutOfTime, within

_UNITS = ((3600, "h"), (60, "m"), (1, "s"))


class NotDoneError(Exception):
    """A call succeeded, and the step is not done yet: no failure, and no attempt."""


class _Pace(NamedTuple):
    """`every` and `for` of a step, rendered."""

    every: float
    limit: float | None


def repeat_until(context: StepContext, following: Next) -> Outcome:
    """Call what follows again and again, until it does not say that it is not done."""
    until = context.step.until
    if until is None:
        return following(context)
    try:
        pace = within(context.seconds_left, lambda: _pace(until, context), context.host.give_up)
    except OutOfTime:
        return Failed(RUN_OUT_OF_TIME, "timeout")
    end: float | None = None
    calls = 0
    while True:
        try:
            return following(context.having(give_up_at=end, poll=calls))
        except NotDoneError:
            calls += 1
        except GivenUpError:
            return _not_done(pace)
        if pace.limit is not None and context.work.called_at is not None:
            # What the first call waited for its turn does not count.
            end = context.work.called_at + pace.limit
        now = context.time.now()
        if end is not None and now >= end:
            return _not_done(pace)
        # The last call is made when the time is up.
        wait = pace.every if end is None else min(pace.every, end - now)
        failed = _wait(context, wait, calls)
        if failed is not None:
            return failed


def check_done(context: StepContext, following: Next) -> Outcome:
    """Go on where the answer says that the step is done.

    Raises:
        NotDoneError: it says that it is not.
        StepError: the condition gives neither true nor false, or fails.
    """
    until, result = context.step.until, context.work.result
    if until is None or result is None:
        return following(context)
    try:
        seen = PROVIDERS[context.step.source.type].view(result)
        value = OUTPUTS["template"].extract(until.condition, seen, context.scope)
    except TemplateError as error:
        raise StepError(f"until: {error.message}") from None
    if not true_or_false(context, "until", value):
        raise NotDoneError
    return following(context)


def _pace(until: Until, context: StepContext) -> _Pace:
    every = timeout_of(until.every, context.scope, "every")
    limit = timeout_of(until.limit, context.scope, "for")
    return _Pace(ASKED_EVERY if every is None else every, limit)


def _not_done(pace: _Pace) -> Failed:
    return Failed(f"was not done after {_span(pace.limit or 0.0)}", "until")


def _wait(context: StepContext, seconds: float, calls: int) -> Failed | None:
    """Wait between two calls; gives a failure where the run has ended meanwhile."""
    end = context.time.now() + seconds
    told = f"{calls} call{'s' if calls > 1 else ''}"
    with context.waits.shown(f"is not done after {told}, asks again every {_span(seconds)}"):
        while (left := end - context.time.now()) > 0:
            run_left = context.seconds_left
            if run_left is not None:
                if run_left <= 0:
                    return Failed(RUN_OUT_OF_TIME, "timeout")
                left = min(left, run_left)
            if context.time.wait(context.cancelled, left):
                return Failed("ended before it was done", "raised")
    return None


def _span(seconds: float) -> str:
    """A span as the language writes it: `30 m`, `1.5 s`."""
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
