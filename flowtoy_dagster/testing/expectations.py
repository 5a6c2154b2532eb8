"""What a run came to against what a test expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.templates.jinja import search
from flowtoy_dagster.testing.mocks import Mocks
from flowtoy_dagster.testing.models import CaseConfig, StepExpectation
from flowtoy_dagster.testing.run import Ended, FlowRun

MISSING = object()
"""Stands for a value that is not there."""


@dataclass(frozen=True)
class Mismatch:
    """Something that is not as expected.

    Attributes:
        path: the place of the expectation, from the test on.
        what: what is compared, in a few words.
        expected: what the test says; MISSING where it says nothing.
        found: what came of the run, secrets hidden; MISSING where nothing did.
        reason: said instead of a comparison.
        can_update: whether `--update` may write what was found.
    """

    path: KeyPath
    what: str
    expected: Any = MISSING
    found: Any = MISSING
    reason: str | None = None
    can_update: bool = True


def compare(config: CaseConfig, run: FlowRun, mocks: Mocks) -> list[Mismatch]:
    """All that is not as a test expects it.

    Args:
        config: the test.
        run: the run of its flow.
        mocks: what was asked.
    """
    found = [
        Mismatch(("mock", step), f"step '{step}'", can_update=False,
                 reason=f"{reason}; write its answer, or list the step in 'real'")
        for step, reason in mocks.problems.items()
    ]
    expect = config.expect
    found += _state(config, run)
    for name, expected in expect.steps.items():
        found += _step(name, expected, run, mocks)
    for name, outputs in expect.outputs.items():
        path: KeyPath = ("expect", "outputs", name)
        ended = run.steps[name]
        shown = dict(ended.shown) if ended.state == "succeeded" else None
        what = f"outputs of step '{name}'"
        if shown is None and outputs is not None:
            reason = _how_ended(ended, run)
            found.append(Mismatch(path, what, outputs, MISSING, reason, can_update=False))
        else:
            found += _different(path, what, outputs, shown)
    for name, expressions in expect.outputs_match.items():
        for output, expression in expressions.items():
            found += _match(name, output, expression, run)
    return found


def _state(config: CaseConfig, run: FlowRun) -> Iterator[Mismatch]:
    expected = config.expect.state or "succeeded"
    if run.state == expected:
        return
    path: KeyPath = ("expect", "state") if config.expect.state else ("expect",)
    first = next((name for name, ended in run.steps.items() if ended.state == "failed"), None)
    because = None
    if first is not None:
        because = f"step '{first}' failed: {run.mask.text(run.steps[first].error or '')}"
    yield Mismatch(path, "state of the run", expected, run.state, because,
                   can_update=config.expect.state is not None)


def _step(
    name: str, expected: StepExpectation, run: FlowRun, mocks: Mocks
) -> Iterator[Mismatch]:
    path: KeyPath = ("expect", "steps", name)
    ended = run.steps[name]
    error = run.mask.text(ended.error or "")
    if expected.state is not None and expected.state != ended.state:
        yield Mismatch((*path, "state"), f"state of step '{name}'", expected.state, ended.state,
                       error or None)
    if expected.error is not None and expected.error not in error:
        yield Mismatch((*path, "error"), f"reason of step '{name}'", expected.error,
                       error or None)
    if expected.attempts is not None and expected.attempts != ended.attempts:
        yield Mismatch((*path, "attempts"), f"attempts of step '{name}'", expected.attempts,
                       ended.attempts)
    calls = [run.mask.data(call) for call in mocks.calls_of(name)]
    if expected.calls is not None and expected.calls != len(calls):
        yield Mismatch((*path, "calls"), f"calls of step '{name}'", expected.calls, len(calls))
    yield from _counts(path, name, expected, run)
    if expected.called is not None:
        yield from _called((*path, "called"), name, run.mask.data(expected.called), calls)


def _counts(
    path: KeyPath, name: str, expected: StepExpectation, run: FlowRun
) -> Iterator[Mismatch]:
    ended = run.steps[name]
    counts = ended.counts or {}
    for key, number in (expected.counts or {}).items():
        if counts.get(key) != number:
            reason = _how_ended(ended, run) if key not in counts else None
            yield Mismatch((*path, "counts", key), f"items of step '{name}' ({key})", number,
                           counts.get(key, MISSING), reason, can_update=key in counts)


def _called(path: KeyPath, name: str, expected: Any, calls: list[Any]) -> Iterator[Mismatch]:
    what = f"call of step '{name}'"
    if expected is False:
        if calls:
            yield Mismatch(path, what, False, calls[0], "the step was called", can_update=False)
        return
    if isinstance(expected, list):
        if len(expected) != len(calls):
            yield Mismatch(path, f"number of calls of step '{name}'", len(expected), len(calls),
                           can_update=False)
            return
        for index, (one, call) in enumerate(zip(expected, calls, strict=True)):
            if not _is_part(one, call):
                yield Mismatch((*path, index), what, one, _projected(one, call))
        return
    if any(_is_part(expected, call) for call in calls):
        return
    if not calls:
        yield Mismatch(path, what, expected, MISSING, "the step has called nothing",
                       can_update=False)
        return
    yield Mismatch(path, what, expected, _projected(expected, calls[-1]))


def _is_part(expected: Any, found: Any) -> bool:
    """Whether a value is there; of mappings, the keys that are expected are enough."""
    if isinstance(expected, Mapping):
        return isinstance(found, Mapping) and all(
            key in found and _is_part(value, found[key]) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return isinstance(found, list) and len(expected) == len(found) and all(
            map(_is_part, expected, found)
        )
    return same(expected, found)


def _projected(expected: Any, found: Any) -> Any:
    """Of what was found, the keys that are expected."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        return {key: _projected(value, found[key]) for key, value in expected.items()
                if key in found}
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same as JSON; true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    numbers = {type(one), type(other)} == {int, float}
    return (numbers or type(one) is type(other)) and bool(one == other)


def _different(path: KeyPath, what: str, expected: Any, found: Any) -> Iterator[Mismatch]:
    """The deepest places where two values differ."""
    if same(expected, found):
        return
    both = isinstance(expected, Mapping) and isinstance(found, Mapping)
    if both and expected.keys() == found.keys():
        for key in expected:
            yield from _different((*path, key), what, expected[key], found[key])
        return
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from _different((*path, index), what, one, other)
        return
    yield Mismatch(path, what, expected, found)


def _how_ended(step: Ended, run: FlowRun) -> str:
    how = "was skipped" if step.state == "skipped" else f"has {step.state}"
    return f"the step {how}: {run.mask.text(step.error or '')}"


def _match(name: str, output: str, expression: str, run: FlowRun) -> Iterator[Mismatch]:
    path: KeyPath = ("expect", "outputs_match", name, output)
    ended = run.steps[name]
    what = f"output '{output}' of step '{name}'"
    if output not in ended.outputs:
        reason = _how_ended(ended, run)
        yield Mismatch(path, what, expression, reason=reason, can_update=False)
        return
    try:
        given = search(expression, ended.outputs[output])
    except TemplateError as error:
        yield Mismatch(path, what, expression, reason=run.mask.text(str(error)), can_update=False)
        return
    if given is not True:
        shown = run.mask.data(given) if ended.shown[output] == ended.outputs[output] else "***"
        yield Mismatch(path, f"{what}: {expression}", True, shown, can_update=False)
