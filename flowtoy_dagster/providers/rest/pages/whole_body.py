"""The body of a call's one answer, for outputs that take it as it is (language 20.1)."""

from __future__ import annotations

from collections.abc import Collection

from flowtoy_dagster.providers.base import CallParts
from flowtoy_dagster.providers.rest.content import Answer, BodyTo


class WholeBody:
    """Hands a body on as it comes, unless all of it must be judged first.

    Args:
        parts: takes the body.
        statuses: those of a success.
        is_judged: whether `response_actions` look at it.
        given: the most bytes that the configuration allows; None where it does not say.
        default: the most bytes that memory is to hold.

    Attributes:
        max_bytes: the most bytes that it may have; None is any number.
        body_to: where it goes as it comes; None where it waits.
    """

    def __init__(
        self,
        parts: CallParts,
        statuses: Collection[int],
        is_judged: bool,
        given: int | None,
        default: int,
    ) -> None:
        self._parts = parts
        self.body_to: BodyTo | None = None
        self.max_bytes: int | None = default
        if not is_judged:
            self.body_to = BodyTo(statuses, parts.take_body, parts.keeps_body)
            self.max_bytes = default if parts.keeps_body else given

    def take_rest(self, answer: Answer) -> None:
        """Hand over what has not gone there: all of a body that was judged, or that is empty."""
        self._parts.take_body(b"" if self.body_to is not None else bytes(answer.body))
