"""Waiting until a source may be called: what `rate` and `concurrency` have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from flowtoy_dagster.errors import StepError
from flowtoy_dagster.steps.context import StepContext

SHOWN_AFTER = 1.0
"""Seconds of a wait that need not be shown."""
_SLICE = 1.0
"""Seconds after which a waiting call looks about: a thread is interrupted between two of them."""


class GivenUpError(Exception):
    """A call has not had its turn when it need not be made any more."""


def wait_until(
    context: StepContext, source: str, limit: str, look: Callable[[], float]
) -> StepContext:
    """Wait until a source may be called.

    The time limit of the attempt does not count this wait; that of the run does.

    Args:
        context: the attempt.
        source: the source's name.
        limit: what is waited for, as it is shown.
        look: gives 0 where it may be called, else the seconds until it is worth another look.

    Returns:
        the context with the deadline as it is now.

    Raises:
        StepError: the step was ended meanwhile.
        GivenUpError: `context.give_up_at` has come.
    """
    seconds = look()
    if seconds <= 0:
        return context
    clock, began = context.clock, context.time.now()
    with contextlib.ExitStack() as stack:
        if clock is not None:
            stack.enter_context(clock.stopped())
        shown = False
        while seconds > 0:
            if not shown and seconds + context.time.now() - began >= SHOWN_AFTER:
                shown = True
                stack.enter_context(context.waits.shown(f"waits for {source}: {limit}"))
            if context.give_up_at is not None and context.time.now() >= context.give_up_at:
                raise GivenUpError
            if context.time.wait(context.cancelled, min(seconds, _SLICE)):
                raise StepError(f"ended while it waited for {source}", "raised")
            seconds = look()
    return context if clock is None else context.having(deadline=clock.deadline)
