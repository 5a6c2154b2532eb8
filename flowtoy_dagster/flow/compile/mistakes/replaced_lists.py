"""Steps of a second file that were meant to change those of the first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flowtoy_dagster.errors import Problem
from flowtoy_dagster.flow.files.loading import Document


def replaced_steps(errors: Iterable[Problem], document: Document) -> Iterator[Problem]:
    """That the steps of a file take the place of another's, where one of them has an error."""
    steps = document.root.child("flow")
    if steps is None or steps.replaces is None or not isinstance(steps.value, list):
        return
    own, other = steps.mark.location.file, steps.replaces.location.file
    orders = [step.mark.order for step in steps.value]
    if any(error.location and error.location.file == own and orders and error.order >= orders[0]
           for error in errors):
        mark = steps.key_mark or steps.mark
        yield Problem(
            f"the steps of {own} take the place of all steps of {other}",
            mark.location,
            "lists replace each other, so a second file can't change a step; write the whole list,"
            " or what differs as a source or a parameter",
            order=mark.order,
        )
