"""A call that consists of several requests: each has its turn, and retries of its own."""

from __future__ import annotations

from dataclasses import replace

from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.keys.rate import heed_limits, wait_for_turn
from flowtoy_dagster.steps.retry import next_delay


class PartsOfCall:
    """What the requests of one call hold to (`providers.base.CallParts`).

    Args:
        context: the attempt; its first request has had its turn.
    """

    def __init__(self, context: StepContext) -> None:
        self._context = context

    def next_turn(self, last: ProviderResult) -> StepContext:
        """Wait until the source may be called again; the context with the deadline as it is then.

        Raises:
            StepError: the step was ended meanwhile.
        """
        heed_limits(self._context, last)
        self._context = wait_for_turn(self._context)
        return replace(self._context, parts=self)

    def retry_delay(self, result: ProviderResult, retry: int) -> float | None:
        """Seconds until a request that failed is sent again; None where it is not."""
        return next_delay(self._context.step.retry, self._context.scope, retry, result)[0]
