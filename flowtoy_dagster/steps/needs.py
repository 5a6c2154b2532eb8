"""What a step can't have because another was skipped: no failure, it is skipped too."""

from __future__ import annotations

from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.flow.templates.names import SkippedNeed


class SkipStep(Exception):  # noqa: N818 - what follows
    """The step is skipped.

    Attributes:
        reason: why, in one line.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def failure_of(error: TemplateError, message: str) -> Exception:
    """What an error in a template of a step comes to before the step has called anything.

    Args:
        error: the error.
        message: what the step's failure says.

    Returns:
        A `SkipStep` where the template used an output of a step that was skipped, else a
        `StepError`.
    """
    if isinstance(error.message, SkippedNeed):
        return SkipStep(str(error.message))
    return StepError(message)
