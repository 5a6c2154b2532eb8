"""What is wrong with the options of an output, whatever its type makes of them."""

from __future__ import annotations

from flowtoy_dagster.flow.compile.catalog import Finding, OutputTraits
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


def _differs(written: str, for_each: ForEachConfig) -> bool:
    """Whether a template looks at what differs between items."""
    if not is_template(written):
        return False
    try:
        words = loop_words(written)
        return bool(set(free_names(written)) & set(for_each.names)) or bool(words)
    except TemplateMistake:
        return True  # which is reported
