"""How to fix a reference to a step or an output that does not exist."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from flowtoy_dagster.flow.files.suggestions import continued, nearest
from flowtoy_dagster.flow.templates.names import FLOW_WORDS
from flowtoy_dagster.flow.templates.references import Reference

_CALLED_FLOWS = frozenset({
    "outputs", "output", "needs", "tasks", "task", "jobs", "job", "results", "xcom",
})
"""Names under which other tools have what steps gave."""
_BETWEEN = re.compile(r"\s*[,;&|]\s*|\s+and\s+|\s+")
"""What stands between names that are written into one text."""


def step_hint(missing: str, names: Collection[str], dependent: str) -> str:
    """What to write instead of the name of a step that does not exist.

    Args:
        missing: the unknown name.
        names: the names of all steps.
        dependent: the step that refers to it.
    """
    several = [part.strip("[]'\"") for part in _BETWEEN.split(missing.strip("[] "))]
    if missing not in several and several and all(part in names for part in several):
        return f"several names are a list: [{', '.join(several)}]"
    hyphened = continued(f"{missing}-", names)
    if hyphened:
        return _minus(hyphened)
    near = nearest(missing, names, but=dependent)
    return f"{near.question[:-1]} for '{missing}'?" if near.question else near.hint


def output_hint(reference: Reference, outputs: Collection[str]) -> str:
    """What to write instead of an output that a step does not have."""
    if not outputs:
        return f"step '{reference.step}' declares no outputs"
    if reference.output in ("output", "outputs"):
        first = f"{_path(reference.step or '')}.{next(iter(outputs))}"
        return f"leave out '.{reference.output}': {first}"
    return nearest(reference.output or "", outputs).hint


def root_hint(name: str, template: str, steps: Iterable[str]) -> str | None:
    """What to write for an unknown name that is a step's, or a part of one's."""
    for step in steps:
        if step == name:
            used = re.search(rf"(?<![\w.]){re.escape(name)}\.(?:outputs?\.)?(\w+)", template)
            output = used[1] if used else "NAME"
            return f"a step's outputs are under 'flows': write {_path(step)}.{output}"
        if step.endswith(f"-{name}") and step in template:
            return _minus(step)
    if name in _CALLED_FLOWS:
        return "outputs of steps are under 'flows': write flows.STEP.NAME"
    return None


def of_flow_hint(word: str, steps: Collection[str]) -> str:
    """What to write instead of something that `flow` does not have."""
    if word in steps:
        return f"a step's outputs are under 'flows': write {_path(word)}.NAME"
    question = nearest(word, [*steps, *FLOW_WORDS]).question
    if question is not None and nearest(word, FLOW_WORDS).question is None:
        return f"a step's outputs are under 'flows'; {question}"
    return "the flow's folder is 'flow.dir'; outputs of steps are under 'flows'"


def _minus(step: str) -> str:
    return f"'-' is minus in a template: write {_path(step)}"


def _path(step: str) -> str:
    return f"flows.{step}" if step.isidentifier() else f"flows['{step}']"
