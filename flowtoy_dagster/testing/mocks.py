"""Answers that a test gives instead of what providers would call."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowtoy_dagster.errors import StepError
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.providers.kinds import describe_call, kind_of
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.state.items import Item
from flowtoy_dagster.store.recordings.calls import shown_key
from flowtoy_dagster.testing.environment import TestEnvironment

EVERY_ITEM = "*"
"""The key of the answers for all items that have none of their own."""

_MOST_CALLS = 10_000
"""How many calls of a step, or of an item of it, one answer may have."""
Answers = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""The answer to every call, or one after another."""


@dataclass(frozen=True)
class Mock:
    """What a step's provider gives.

    Attributes:
        answers: to each call; of a repeated step, to those of each item.
        items: by the keys of items, where they differ.
    """

    answers: Answers = ()
    items: Mapping[str, Answers] | None = None

    def for_item(self, item: Item | None, mask: Mask) -> Answers | None:
        """The answers to the calls of an item; None where there are none.

        Args:
            item: may have a secret key, which a recorded test has as a recording does.
            mask: hides the secrets.
        """
        if self.items is None or item is None:
            return self.answers
        keys = (item.key, shown_key(item, mask), EVERY_ITEM)
        return next((self.items[key] for key in keys if key in self.items), None)


class Mocks:
    """Stands in for all providers of a run, and notes what was called.

    Args:
        flow: what is run.
        mocks: by step.
        real: the steps whose providers are really called.
        environment: that of the test.

    Attributes:
        problems: the calls that the test foresees no answer for, by step.
    """

    def __init__(
        self,
        flow: Flow,
        mocks: Mapping[str, Mock],
        real: frozenset[str],
        environment: TestEnvironment,
    ) -> None:
        self._flow = flow
        self._mocks = mocks
        self._real = real
        self._environment = environment
        self._lock = threading.Lock()
        self._calls: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._used: dict[tuple[str, str | None], int] = defaultdict(int)
        self.problems: dict[str, str] = {}

    def calls_of(self, step: str) -> list[dict[str, Any]]:
        """What a step has called, in order."""
        return list(self._calls.get(step, ()))

    def exchange(
        self, context: StepContext, part: Mapping[str, Any], make: Callable[[], dict[str, Any]]
    ) -> Mapping[str, Any]:
        """The test's answer to a request, or the real one.

        Raises:
            StepError: the test has no answer to it.
        """
        step, work = context.step, context.work
        kind = kind_of(step.source)
        facts = kind.call_facts(work.configuration, work.payload, part)
        with self._lock:
            self._calls[step.name].append(facts)
        mock = self._mocks.get(step.name)
        if mock is None and not kind.reaches_out:
            return make()
        if step.name in self._real:
            with self._environment.for_programs():
                return make()
        return self._next(context, mock)

    def _next(self, context: StepContext, mock: Mock | None) -> Mapping[str, Any]:
        step = context.step
        key = context.item.key if context.item is not None else None
        mask = context.mask.current
        answers = mock.for_item(context.item, mask) if mock is not None else None
        what = describe_call(step.source, context.work.configuration)
        what = context.mask.text(what)
        if answers is None:
            of_item = f" for item '{context.mask.text(key)}'" if mock is not None and key else ""
            raise self._problem(step.name, f"it would call {what}, and has no mock{of_item}")
        with self._lock:
            number = self._used[step.name, key]
            self._used[step.name, key] += 1
        if isinstance(answers, Mapping):
            if number >= _MOST_CALLS:
                raise self._problem(
                    step.name, f"{number:,} calls have had the one answer of its mock, and another "
                    f"was made ('until' and a paginator need a list of answers): {what}"
                )
            return answers
        if number >= len(answers):
            count = f"{len(answers)} answer{'' if len(answers) == 1 else 's'}"
            raise self._problem(
                step.name, f"its mock has {count}, and call {number + 1} was made: {what}"
            )
        return answers[number]

    def _problem(self, step: str, reason: str) -> StepError:
        with self._lock:
            self.problems.setdefault(step, reason)
        return StepError(reason)
