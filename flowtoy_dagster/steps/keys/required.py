"""`required: true` on an output (language 19.7)."""

from __future__ import annotations

from flowtoy_dagster.steps.chain import Failed, Next, Outcome
from flowtoy_dagster.steps.context import StepContext


def check_required(context: StepContext, following: Next) -> Outcome:
    """Fail the attempt where a required output is null or an empty text."""
    values = context.work.outputs
    for output in context.step.outputs:
        if output.required and values.get(output.name) in (None, ""):
            found = "null" if values.get(output.name) is None else "an empty text"
            return Failed(f"output '{output.name}' is required, and is {found}", is_ours=True)
    return following(context)
