"""What follows when a step fails (language 9), as far as the flow alone decides it."""

from __future__ import annotations

from typing import Literal

from flowtoy_dagster.flow.graph import Flow, Step

Rule = Literal["continue", "skip", "halt"]


def rule_between(failed: Step, dependent: Step) -> Rule:
    """What becomes of a direct dependent of a failed step (language 9.2)."""
    policies = (failed.on_error, dependent.on_error)
    if "continue" in policies:
        return "continue"
    return "skip" if "skip" in policies else "halt"


def halts_run(flow: Flow, step: Step) -> bool:
    """Whether the run halts when this step fails (language 9.2, 9.3)."""
    dependents = flow.dependents[step.name]
    if not dependents:
        return step.on_error == "fail"
    return any(rule_between(step, flow.step(name)) == "halt" for name in dependents)


def has_tolerant_dependents(flow: Flow, step: Step) -> bool:
    """Whether some dependent runs although this step failed."""
    dependents = flow.dependents[step.name]
    return any(rule_between(step, flow.step(name)) == "continue" for name in dependents)
