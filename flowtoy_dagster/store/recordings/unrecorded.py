"""Calls of a replay that are not as they were recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class UnrecordedCall(NamedTuple):
    """A call that was not recorded, or that is another one; secrets are hidden.

    Attributes:
        step: the step that made it.
        item: the key of the item, where the step is repeated.
        attempt: of the step, or of the item.
        reason: why its attempt failed.
    """

    step: str
    item: str | None
    attempt: int
    reason: str

    def __str__(self) -> str:
        item = f" (item '{self.item}')" if self.item is not None else ""
        return f"step '{self.step}'{item}: {self.reason}"

    def facts(self) -> dict[str, Any]:
        """It as plain data."""
        return self._asdict()

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> UnrecordedCall:
        """It in what `facts` gave."""
        return cls(**facts)
