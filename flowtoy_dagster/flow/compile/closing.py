"""Steps that run after failures, in a flow where nothing can fail before them (language 19.3)."""

from __future__ import annotations

from collections.abc import Sequence

from flowtoy_dagster.flow.compile.edges import Links, StepView
from flowtoy_dagster.flow.compile.validate import Draft


def check_closing(draft: Draft, views: Sequence[StepView], links: Links) -> None:
    """Report each `run_if: failure` that would wait for nothing, and so could never run.

    Without dependencies it waits for all steps but those that do the same, and what depends on
    these.
    """
    written = draft.document.root.child("flow")
    names = {view.name for view in views}
    count = len(written.value) if written and isinstance(written.value, list) else 0
    if not count == len(views) == len(names):
        return  # a step that can't be read or found may be one that it would wait for
    last = {view.name for view in views if _is_last(view, links)}
    behind = _with_dependents(last, views, links)
    if any(view.name not in behind for view in views):
        return
    for view in views:
        if view.name in last and view.step.config.run_if == "failure":
            draft.problems.error(
                ("flow", view.step.index, "run_if"),
                f"step '{view.name}' can never run: no step that can fail ends before it",
                "let it depend on the step whose failure it waits for, or leave 'run_if' out",
            )


def _is_last(view: StepView, links: Links) -> bool:
    """Whether a step waits for the rest of the run."""
    runs_late = view.step.config.run_if in ("failure", "always")
    waits = view.step.config.depends_on or links.dependencies[view.step.index]
    return runs_late and not waits and not view.step.broken & {"run_if", "depends_on"}


def _with_dependents(
    names: set[str], views: Sequence[StepView], links: Links
) -> set[str]:
    """Steps and all that depend on them, at any distance."""
    dependents: dict[str, list[str]] = {}
    for view in views:
        for dependency in links.dependencies[view.step.index]:
            dependents.setdefault(dependency.step, []).append(view.name)
    found, pending = set(names), list(names)
    while pending:
        for name in dependents.get(pending.pop(), ()):
            if name not in found:
                found.add(name)
                pending.append(name)
    return found
