"""Where in the files the cause of a step's failure is; variables that are not set before a run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from flowtoy_dagster.errors import Location, Problem
from flowtoy_dagster.flow.files.nodes import KeyPath, Node
from flowtoy_dagster.flow.files.suggestions import nearest
from flowtoy_dagster.flow.graph import Flow, Step
from flowtoy_dagster.flow.templates.references import TemplateMistake, needed
from flowtoy_dagster.flow.templates.render import is_template
from flowtoy_dagster.machine.working_directory import working_directory

_OUTPUT = re.compile(r"output '([^']+)':")
_FIELD = re.compile(r"([a-z_]+(?:\.[\w-]+|\[\d+\])*):")
_PART = re.compile(r"([\w-]+)|\[(\d+)\]")


def place_of(flow: Flow, name: str, reason: str) -> Location | None:
    """Where in its files a flow has the field or the output that a step failed by.

    Args:
        flow: as it was read.
        name: the step's.
        reason: why it failed, which begins with the field that it is about, if it is about one.

    Returns:
        None where the reason names none that is written there, and where there is no file.
    """
    step = flow.by_name.get(name)
    if step is None or flow.written is None:
        return None
    found = next(
        (node for path in _paths(flow, step, reason) if (node := flow.written.at(path))), None
    )
    place = found.mark.location if found is not None else None
    return place if place is not None and place.line > 0 else None


def failure_place(flow: Flow, name: str, reason: str) -> str | None:
    """Where to look for why a step failed: what `place_of` finds, or the step itself.

    Args:
        flow: as it was read, or with the places that were kept of it.
        name: the step's.
        reason: why it failed.

    Returns:
        file, line and column, with an absolute path; None where there is no file.
    """
    return _absolute(place_of(flow, name, reason) or _place_at(flow, name, ((),)))


def warning_place(flow: Flow, name: str, path: KeyPath) -> str | None:
    """Where to look for what a step warns of: the part of it, the nearest around, or the step.

    Args:
        flow: as it was read, or with the places that were kept of it.
        name: the step's.
        path: the keys and indexes of the part, within the step as written.

    Returns:
        file, line and column, with an absolute path; None where there is no file.
    """
    return _absolute(_place_at(flow, name, (*_around(path), ())))


def _place_at(flow: Flow, name: str, paths: Iterable[KeyPath]) -> Location | None:
    """The place of the first of some paths within a step that is written there."""
    step = flow.by_name.get(name)
    if step is None or flow.written is None:
        return None
    known = (each for path in paths for each in _meant(step, path))
    node = next((node for path in known if (node := flow.written.at(path))), None)
    return node.mark.location if node is not None and node.mark.location.line > 0 else None


def _absolute(place: Location | None) -> str | None:
    if place is None or place.file.startswith("<"):
        return None if place is None else str(place)
    return f"{os.path.join(working_directory() or '', place.file)}:{place.line}:{place.column}"


def shown_place(place: str) -> str:
    """A place for people: relative to the working directory, where it is below that."""
    here = (working_directory() or "").rstrip("/")
    return place.removeprefix(f"{here}/") if here else place


def _paths(flow: Flow, step: Step, reason: str) -> Iterator[KeyPath]:
    """The places that a reason may mean, the most likely first."""
    own: KeyPath = ("flow", step.index)
    output = _OUTPUT.match(reason)
    if output is not None:
        for index, written in enumerate(step.outputs):
            if written.name == output[1]:
                yield from ((*own, "output", index, "value"), (*own, "output", index))
    field = _FIELD.match(reason)
    if field is not None:
        path = [name or int(index) for name, index in _PART.findall(field[1])]
        for part in _around(path):  # what a template gives has no place of its own
            yield from _meant(step, part)


def _around(path: Sequence[str | int]) -> Iterator[KeyPath]:
    """A path, and those of what is around it, the nearest first."""
    return (tuple(path[:length]) for length in range(len(path), 0, -1))


def _meant(step: Step, path: Sequence[str | int]) -> Iterator[KeyPath]:
    """Where in a configuration a part of a step may be written: that of a source elsewhere, too."""
    own: KeyPath = ("flow", step.index)
    if len(path) > 1 and path[0] == "source":
        for around in ((*own, "source", "override"), ("sources", step.source.name or ""),
                       (*own, "source")):
            yield from ((*around, *path[1:]), (*around, "configuration", *path[1:]))
    yield (*own, *path)


def unset_variables(flow: Flow, environment: Mapping[str, str]) -> list[Problem]:
    """Warnings of the variables that steps need and that are not set, at their first places.

    Args:
        flow: as it was read.
        environment: the variables that are set.
    """
    found: dict[str, Problem] = {}
    for node in _sure_to_run(flow):
        for text, place in _templates(node):
            for name in _needed(text):
                if name not in environment and name not in found:
                    near = nearest(name, sorted(environment)).question
                    hint = f"{f'{near} ' if near else ''}set it, or read it with --env-file"
                    found[name] = Problem(
                        f"the environment variable '{name}' is not set", place, hint
                    )
    return list(found.values())


def _sure_to_run(flow: Flow) -> Iterator[Node]:
    """The steps that no condition can skip, and the sources that they call."""
    if flow.written is None:
        return
    steps = [step for step in flow.steps if step.when is None and not step.is_closing]
    paths: dict[KeyPath, None] = {}
    for step in steps:
        if step.source.name:
            paths["sources", step.source.name] = None
        paths["flow", step.index] = None
    yield from (node for path in paths if (node := flow.written.at(path)) is not None)


def _templates(node: Node) -> Iterator[tuple[str, Location]]:
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            if not str(key).startswith("x-"):
                yield from _templates(child)
    elif isinstance(node.value, list):
        for child in node.value:
            yield from _templates(child)
    elif isinstance(node.value, str) and is_template(node.value):
        yield node.value, node.mark.location


def _needed(text: str) -> list[str]:
    """The variables without which a template can't be rendered."""
    try:
        return sorted(
            reference.step for reference in needed(text)
            if reference.root == "env" and reference.step
        )
    except TemplateMistake:
        return []
