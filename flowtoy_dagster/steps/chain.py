"""One attempt as a chain of stages, and the three ways in which it may end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from flowtoy_dagster.errors import FailureKind
from flowtoy_dagster.steps.context import StepContext


class Succeeded(NamedTuple):
    """The step has outputs: values by name, in the order written."""

    outputs: Mapping[str, Any] = {}


class Failed(NamedTuple):
    """The attempt failed.

    Attributes:
        reason: why, in one line.
        kind: what `retry` goes by.
        is_ours: whether the reason holds nothing that the provider said.
    """

    reason: str
    kind: FailureKind = "provider"
    is_ours: bool = False


class Skipped(NamedTuple):
    """The step was not to run."""

    reason: str


Outcome = Succeeded | Failed | Skipped
Next = Callable[[StepContext], Outcome]
Stage = Callable[[StepContext, Next], Outcome]
"""One part of an attempt: calls the next one, with the context that it needs, or ends it."""


def chain(stages: Sequence[Stage]) -> Next:
    """The stages as one function; the last of them never calls what comes after it."""

    def end(context: StepContext) -> Outcome:
        raise AssertionError(f"no stage has ended the attempt of '{context.step.name}'")

    whole: Next = end
    for stage in reversed(stages):
        whole = _before(whole, stage)
    return whole


def _before(following: Next, stage: Stage) -> Next:
    return lambda context: stage(context, following)
