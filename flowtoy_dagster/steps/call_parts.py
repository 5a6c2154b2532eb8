"""A call that consists of several requests: each has its turn, and retries of its own."""

from __future__ import annotations

import logging
from typing import Any

from flowtoy_dagster.errors import StepError
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.kinds import kind_of
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.keys.rate import heed_limits, wait_for_turn
from flowtoy_dagster.steps.retry import next_delay

logger = logging.getLogger("flowtoy.step")


def forbids_retry(context: StepContext, result: ProviderResult | None) -> bool:
    """Whether what a step calls must not be called again; the reason is noted for its failure.

    Args:
        context: the attempt.
        result: what came of the call; None where that is not known.
    """
    configuration = context.work.configuration or context.step.source.configuration
    try:
        why = kind_of(context.step.source).why_not_repeated(configuration, result)
    except Exception:  # the code of others; what failed is what counts
        logger.debug("'%s' can't say what may be repeated", context.step.source.type, exc_info=True)
        why = None
    context.work.not_repeated = why
    return why is not None


class PartsOfCall:
    """What the requests of one call hold to (`providers.base.CallParts`).

    Args:
        context: the attempt; its first request has had its turn.

    Attributes:
        has_records: whether the call has handed over records by itself.
    """

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self.has_records = False
        self._body_takers: list[Any] = [
            taker for taker in context.takers if getattr(taker, "takes_body", False)
        ]

    def next_turn(self, last: ProviderResult) -> StepContext:
        """Wait until the source may be called again; the context with the deadline as it is then.

        Raises:
            StepError: the step was ended meanwhile.
        """
        heed_limits(self._context, last)
        self._context = wait_for_turn(self._context)
        return self._context.having(parts=self)

    def retry_delay(self, result: ProviderResult, retry: int) -> float | None:
        """Seconds until a request that failed is sent again; None where it is not."""
        policy = self._context.step.retry
        try:
            delay = next_delay(policy, self._context.scope, retry, result)[0]
        except StepError:
            return None  # the failure of the step says what is wrong with the settings
        return None if delay is None or forbids_retry(self._context, result) else delay

    @property
    def keeps_records(self) -> bool:
        """Whether the result must list the records, although they were handed over."""
        return self._context.keeps_records

    @property
    def keeps_body(self) -> bool:
        """Whether the result must hold the data of the body, although it was handed over."""
        takers = len(self._context.takers) > len(self._body_takers)
        return self._context.keeps_records or takers or self._context.tracker is not None

    @property
    def takes_body(self) -> bool:
        """Whether the body of the one answer of a call is wanted as it is."""
        return bool(self._body_takers)

    def take_body(self, piece: bytes) -> None:
        """Hand over a piece of the body.

        Raises:
            StepError: it can't be taken.
        """
        for taker in self._body_takers:
            taker.take_body(piece)

    def take(self, records: list[Any]) -> list[Any]:
        """Hand over the records of a page; gives those that the step keeps.

        Raises:
            StepError: they can't be taken.
        """
        self.has_records = True
        if self._context.tracker is not None:
            records = self._context.tracker.take(records)
        for taker in self._context.takers:
            taker.take(records)
        return records
