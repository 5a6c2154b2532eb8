"""Whether the outputs of an earlier run can still be used (language 20.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowtoy_dagster.errors import StepError
from flowtoy_dagster.flow.graph import Step
from flowtoy_dagster.outputs.kind import OutputKind
from flowtoy_dagster.steps.outputs.extraction import output_kind


def may_be_stale(step: Step) -> bool:
    """Whether outputs of a step depend on something else than its record."""
    return bool(_kinds(step))


def why_stale(step: Step, outputs: Mapping[str, Any]) -> str | None:
    """Why the outputs of an earlier run can't be used any more.

    Args:
        step: the step.
        outputs: values by name; of a step that is repeated, lists of values, or one item's.

    Returns:
        None where they can.
    """
    for name, kind in _kinds(step).items():
        if name not in outputs:
            continue
        found = outputs[name]
        for value in found if isinstance(found, list) else [found]:
            reason = kind.why_stale(value)
            if reason is not None:
                return reason
    return None


def _kinds(step: Step) -> dict[str, OutputKind]:
    found = {}
    for output in step.outputs:
        try:
            kind = output_kind(output)
        except StepError:
            continue  # a type that is not installed any more
        if type(kind).why_stale is not OutputKind.why_stale:
            found[output.name] = kind
    return found
