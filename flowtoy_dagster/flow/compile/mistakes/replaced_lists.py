"""Steps of a second file that were meant to change those of the first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flowtoy_dagster.errors import Problem
from flowtoy_dagster.flow.files.loading import Document

_NO_SOURCE = "the key 'source' is required"


def replaced_steps(errors: Iterable[Problem], document: Document) -> Iterator[Problem]:
    """That the steps of a file take the place of another's, where one of them calls nothing."""
    steps = document.root.child("flow")
    if steps is None or steps.replaces is None or not isinstance(steps.value, list):
        return
    own, other = steps.mark.location.file, steps.replaces.location.file
    # Such a step was hardly meant to be whole.
    if any(error.location and error.location.file == own and error.message == _NO_SOURCE
           for error in errors):
        mark = steps.key_mark or steps.mark
        yield Problem(
            f"the steps of {own} take the place of all steps of {other}",
            mark.location,
            "lists replace each other, so a second file can't change a step; write the whole list,"
            " or what differs as a source or a parameter",
            order=mark.order,
        )
