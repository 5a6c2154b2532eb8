"""The rate of a source: a call waits for its turn, and for a server that wants a pause
(language 19.5).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace

from flowtoy_dagster.errors import StepError
from flowtoy_dagster.flow.graph import Source
from flowtoy_dagster.flow.schema.rates import show_rates
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.kinds import describe
from flowtoy_dagster.steps.context import Limiter, StepContext
from flowtoy_dagster.steps.rate_headers import pause_wanted

SHOWN_AFTER = 1.0
"""Seconds of a wait that need not be shown."""
_SLICE = 1.0
"""Seconds after which a waiting call looks about: a thread is interrupted between two of them."""


class GivenUpError(Exception):
    """A call has not had its turn when it need not be made any more."""


def rate_key(source: Source) -> str:
    """What tells a source from others in a home: its name, its type, and what it calls.

    Flows share the rate of a source that is the same in these. Its credentials, and settings such
    as timeouts, don't matter.
    """
    facts = [source.name, source.type, describe(source)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def wait_for_turn(context: StepContext) -> StepContext:
    """Wait until the source of a step may be called, and count the call.

    The time that an attempt may take stands still meanwhile; that of the run does not.

    Returns:
        the context with the deadline as it is now.

    Raises:
        StepError: the step was ended meanwhile, or the home can't keep the rate.
        GivenUpError: `context.give_up_at` has come.
    """
    source, limiter = context.limited, context.limiter
    if source is None or limiter is None:
        return context
    key = rate_key(source)
    seconds = _take(limiter, key, source)
    if seconds <= 0:
        return context
    began = time.monotonic()
    with _standing_still(context), contextlib.ExitStack() as stack:
        shown = False
        while seconds > 0:
            if not shown and seconds + time.monotonic() - began >= SHOWN_AFTER:
                shown = True
                text = f"waits for {source.name}: {show_rates(source.rates)}"
                stack.enter_context(context.waits.shown(text))
            if context.give_up_at is not None and time.monotonic() >= context.give_up_at:
                raise GivenUpError
            if context.cancelled.wait(min(seconds, _SLICE)):
                raise StepError(f"ended while it waited for {source.name}", "raised")
            seconds = _take(limiter, key, source)
    clock = context.clock
    return context if clock is None else replace(context, deadline=clock.deadline)


def heed_limits(context: StepContext, result: ProviderResult) -> None:
    """Pause the source where the answer wants it: for all its calls, not for this one alone."""
    source, limiter = context.limited, context.limiter
    if source is None or limiter is None:
        return
    seconds = pause_wanted(result)
    if seconds > 0:
        with _kept(source):
            limiter.pause(rate_key(source), seconds)


def _take(limiter: Limiter, key: str, source: Source) -> float:
    with _kept(source):
        return limiter.take(key, source.rates)


@contextlib.contextmanager
def _kept(source: Source) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StepError(f"the rate of {source.name} can't be kept: {reason}", "raised") from None


def _standing_still(context: StepContext) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if context.clock is None else context.clock.stopped()
