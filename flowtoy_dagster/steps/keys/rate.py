"""The rate of a source: a call waits for its turn, and for a server that wants a pause
(language 19.5).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator

from flowtoy_dagster.errors import StepError, system_reason
from flowtoy_dagster.flow.graph import Source
from flowtoy_dagster.flow.schema.rates import show_rates
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.kinds import describe
from flowtoy_dagster.steps.context import Limiter, StepContext
from flowtoy_dagster.steps.keys.turns import wait_until
from flowtoy_dagster.steps.rate_headers import pause_wanted


def rate_key(source: Source) -> str:
    """What distinguishes a source from others in a home: its name, its type, and what it calls.

    Flows share the rate of a source that is the same in these. Its credentials, and settings such
    as timeouts, don't matter.
    """
    facts = [source.name, source.type, describe(source)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def wait_for_turn(context: StepContext) -> StepContext:
    """Wait until the source of a step may be called, and count the call.

    The time limit of the attempt does not count this wait; that of the run does.

    Returns:
        the context with the deadline as it is now.

    Raises:
        StepError: the step was ended meanwhile, or the home can't keep the rate.
        GivenUpError: `context.give_up_at` has come.
    """
    source, limiter = context.limited, context.limiter
    if source is None or limiter is None:
        return context
    key, keeper = rate_key(source), limiter
    return wait_until(
        context, source.name or "", show_rates(source.rates), lambda: _take(keeper, key, source)
    )


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
        reason = system_reason(error)
        raise StepError(f"the rate of {source.name} can't be kept: {reason}", "raised") from None
