"""The concurrency of a source: a call holds one of its slots, which items and other steps share
(language 17.1, 18.6).
"""

from __future__ import annotations

import random

from flowtoy_dagster.errors import StepError, system_reason
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.keys.turns import wait_until

_LOOKS = (0.005, 0.05)
"""Seconds between two looks for a free slot: at first, and in the end."""


def wait_for_slot(context: StepContext) -> StepContext:
    """Wait until fewer calls of the source go on than it allows, and hold a slot of it.

    `context.work.held` gives it back.

    Returns:
        the context with the deadline as it is now.

    Raises:
        StepError: the step was ended meanwhile, or the slots can't be kept.
        GivenUpError: `context.give_up_at` has come.
    """
    slots = context.slots
    if slots is None:
        return context
    pause, longest = _LOOKS

    def look() -> float:
        nonlocal pause
        if place.take():
            return 0.0
        pause = min(pause * 1.5, longest)
        # Not in step with the others that wait.
        return pause * random.uniform(0.5, 1.0)  # noqa: S311

    try:
        place = context.work.held.enter_context(slots.place())
        return wait_until(context, slots.source, f"{slots.most} at once", look)
    except OSError as error:
        reason = system_reason(error)
        message = f"the concurrency of {slots.source} can't be kept: {reason}"
        raise StepError(message, "raised") from None
