"""`incremental` on a step with `for_each`: each item has a value of its own (language 22.6)."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from flowtoy_dagster.flow.compile.validate import Draft, StepDraft
from flowtoy_dagster.flow.schema.for_each import ForEachConfig
from flowtoy_dagster.flow.schema.incremental import IncrementalConfig
from flowtoy_dagster.flow.templates.names import LOOP
from flowtoy_dagster.flow.templates.references import TemplateMistake, free_names, loop_words
from flowtoy_dagster.flow.templates.render import is_template

_NO_KEY = (
    "'incremental' with 'for_each' needs 'for_each.key': it names what is stored of an item",
    "write a template that gives the same item the same key in each run, such as"
    " 'key: {{ item.id }}'",
)
_BATCHES = (
    "'incremental' can't be used with 'batch': what is in a batch changes from run to run",
    "leave 'batch' out: each entry of the list has a value of its own then",
)
_KEY_OF_ITEM = (
    "'incremental.key' can't use the item: each item has a value of its own already",
    "leave 'key' out, or write what is the same for all items, such as '{{ params.tenant }}'",
)


def check_cursors(draft: Draft) -> None:
    """Note what can't be of steps that have both."""
    for step in draft.steps:
        for_each, incremental = step.config.for_each, step.config.incremental
        if for_each is not None and incremental is not None:
            _check(draft, step, for_each, incremental)


def _check(
    draft: Draft, step: StepDraft, for_each: ForEachConfig, incremental: IncrementalConfig
) -> None:
    error = draft.problems.error
    if for_each.batch is not None:
        error((*step.path, "for_each", "batch"), *_BATCHES, key=True)
    elif for_each.key is None and "for_each" not in step.broken:
        error((*step.path, "for_each"), *_NO_KEY, key=True)
    if is_template(incremental.key) and _uses(incremental.key, for_each.names):
        error((*step.path, "incremental", "key"), *_KEY_OF_ITEM)


def _uses(template: str, names: Collection[str]) -> bool:
    with contextlib.suppress(TemplateMistake):  # which is told elsewhere
        return bool(loop_words(template)) or any(
            name in names for name in free_names(template) if name != LOOP
        )
    return False
