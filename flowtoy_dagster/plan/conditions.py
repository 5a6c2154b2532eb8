"""What is known of conditions before a run: some depend on nothing but parameters and variables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.graph import Flow, Step
from flowtoy_dagster.flow.param_values import see_params
from flowtoy_dagster.flow.templates.references import references, words_of
from flowtoy_dagster.flow.templates.render import render
from flowtoy_dagster.steps.scope import RunInfo, build_scope
from flowtoy_dagster.steps.state.flow_folder import FlowFolder

_KNOWN = {"params", "env", "flow"}

Fate = Literal["runs", "skipped", "fails", "open"]


@dataclass(frozen=True)
class Outlook:
    """Whether a step will run, as far as its conditions say.

    Attributes:
        fate: `open` where only the run decides.
        reason: why it is skipped, or fails.
        decided_by: the parameters and variables that its condition looks at.
    """

    fate: Fate
    reason: str | None = None
    decided_by: tuple[str, ...] = ()


def outlooks(flow: Flow, ordered: Iterable[Step]) -> Mapping[str, Outlook]:
    """What is known of each step.

    Args:
        flow: with the values of its parameters.
        ordered: its steps, each after those that it depends on.
    """
    params = see_params(flow, os.environ)
    run = RunInfo("", flow.name, lambda: 0.0, params, folder=FlowFolder.of(flow))
    scope = build_scope({}, {}, run)
    found: dict[str, Outlook] = {}
    for step in ordered:
        found[step.name] = _because_of_others(step, found) or _by_condition(step, scope)
    return found


def _because_of_others(step: Step, found: Mapping[str, Outlook]) -> Outlook | None:
    for dependency in step.dependencies:
        if dependency.needs and found[dependency.step].fate == "skipped":
            needed = dependency.needs[0]
            reason = f"needs `{needed}`, and '{dependency.step}' is skipped"
            return Outlook("skipped", reason)
    return None


def _by_condition(step: Step, scope: Mapping[str, object]) -> Outlook:
    if step.when is None:
        return Outlook("runs" if step.run_if != "failure" else "open")
    names = sorted(reference.written for reference in references(step.when)
                   if reference.root in _KNOWN)
    looks_at = tuple(dict.fromkeys(names))
    # Items have conditions of their own, and whatever else a template names is known in a run.
    if step.for_each is not None or not words_of(step.when) <= _KNOWN:
        return Outlook("open", decided_by=looks_at)
    try:
        value = render(step.when, scope)
    except TemplateError as error:
        return Outlook("fails", f"when: {error.message}", looks_at)
    if not isinstance(value, bool):
        return Outlook("fails", "when: expected true or false", looks_at)
    if not value:
        return Outlook("skipped", "when is false", looks_at)
    return Outlook("runs" if step.run_if != "failure" else "open", decided_by=looks_at)
