"""Whether a step is to run: what it needs of others, and its condition (language 19.1, 19.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.templates.conditions import shown_condition
from flowtoy_dagster.flow.templates.render import render
from flowtoy_dagster.steps.chain import Next, Outcome, Skipped
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.needs import failure_of

_SHOWN = 110
"""Characters of a condition that are shown."""


def check_needs(context: StepContext, following: Next) -> Outcome:
    """Skip a step that refers, unguarded, to an output of a step that was skipped."""
    steps: Mapping[str, Any] = context.scope["steps"]
    for dependency in context.step.dependencies:
        name = dependency.step
        if dependency.needs and name in steps and steps[name]["state"] == "skipped":
            return Skipped(f"needs `{dependency.needs[0]}`, and '{name}' was skipped")
    return following(context)


def ask_condition(context: StepContext, following: Next) -> Outcome:
    """Skip a step whose condition is false."""
    reason = why_not(context)
    return following(context) if reason is None else Skipped(reason)


def why_not(context: StepContext) -> str | None:
    """Why a step's condition keeps it from running; None where it is to run.

    Raises:
        StepError: the condition fails, or gives neither true nor false.
        SkipStep: it looks at an output of a step that was skipped.
    """
    written = context.step.when
    if written is None:
        return None
    if true_or_false(context, "when", _value(written, context.scope)):
        return None
    shown = context.mask.current.shortened(shown_condition(written), _SHOWN)
    return f"its condition is false: {shown}"


def true_or_false(context: StepContext, key: str, value: Any) -> bool:
    """What the condition under a key of a step has given.

    Raises:
        StepError: it is neither.
    """
    if not isinstance(value, bool):
        hidden = context.mask.current.data(value)
        raise StepError(f"{key}: expected true or false, got {show(hidden)}")
    return value


def _value(written: str, scope: Mapping[str, Any]) -> Any:
    try:
        return render(written, scope)
    except TemplateError as error:
        raise failure_of(error, f"when: {error.message}") from None
