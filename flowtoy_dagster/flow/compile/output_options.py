"""What is wrong with the options of an output, whatever its type makes of them."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from flowtoy_dagster.flow.compile.catalog import Finding, OutputCatalog, OutputTraits
from flowtoy_dagster.flow.compile.edges import StepView
from flowtoy_dagster.flow.compile.validate import Draft
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.schema.for_each import ForEachConfig
from flowtoy_dagster.flow.schema.models import OutputConfig
from flowtoy_dagster.flow.templates.references import TemplateMistake, free_names, loop_words
from flowtoy_dagster.flow.templates.render import is_template


def item_findings(
    output: OutputConfig, traits: OutputTraits, for_each: ForEachConfig | None
) -> list[Finding]:
    """That an option is the same for all items of a repeated step, and must not be.

    Args:
        output: as written.
        traits: what its type says.
        for_each: what its step is repeated for; None where it is not.
    """
    if for_each is None:
        return []
    found = []
    for key in traits.item_options:
        written = output.options.get(key)
        if isinstance(written, str) and not _differs(written, for_each):
            message = f"'{key}' is the same for all items of the step"
            hint = f"name the item in it, such as {{{{ {for_each.name} }}}} or {{{{ loop.key }}}}"
            found.append(Finding((key,), message, hint))
    return found


def check_places(draft: Draft, views: Sequence[StepView], catalog: OutputCatalog) -> None:
    """Report each step that writes to the place of another one, where both are as written.

    Of steps with a condition, one may run in place of the other: that is seen when they run.
    """
    first: dict[tuple[str, str], tuple[str, KeyPath]] = {}
    for view in views:
        config = view.step.config
        if config.when is not None or config.run_if in ("failure", "always"):
            continue
        for index, output in enumerate(view.outputs):
            for key in catalog.traits(output.type or "").item_options:
                written = output.options.get(key)
                if not isinstance(written, str) or is_template(written):
                    continue
                place = written if "://" in written else posixpath.normpath(written)
                path = ("flow", view.step.index, "output", index, key)
                name, other = first.setdefault((key, place), (view.name, path))
                if other[1] == view.step.index:
                    continue  # the step itself says so when it runs
                where = draft.document.root.nearest(other).location
                draft.problems.error(
                    path, f"the step '{name}' writes to '{written}' already, at {where}",
                    "give each step a file of its own",
                )


def _differs(written: str, for_each: ForEachConfig) -> bool:
    """Whether a template looks at what differs between items."""
    if not is_template(written):
        return False
    try:
        words = loop_words(written)
        return bool(set(free_names(written)) & set(for_each.names)) or bool(words)
    except TemplateMistake:
        return True  # which is reported
