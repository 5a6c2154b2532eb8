"""Warnings of the long form of `for_each` in a list: `- in: …` (language 18.1)."""

from __future__ import annotations

from flowtoy_dagster.flow.compile.diagnostics import Diagnostics
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.schema.fields import keys_of
from flowtoy_dagster.flow.schema.for_each import ForEachConfig

_KEYS = frozenset(keys_of(ForEachConfig))


def warn_of_wrapped_loop(problems: Diagnostics, path: KeyPath, loop: ForEachConfig) -> None:
    """Warn of a list of one mapping that has the keys of a loop: it is one item.

    Args:
        problems: takes the warning.
        path: where the step is.
        loop: what it is repeated for.
    """
    items = loop.iterated
    if not isinstance(items, list) or len(items) != 1 or not isinstance(items[0], dict):
        return
    keys = set(items[0])
    if "in" in keys and keys <= _KEYS:
        problems.warning(
            (*path, "for_each"), "this is a list of one item, which has the key 'in'",
            "write for_each: {in: …}, without '-' or '[ ]', if that is meant",
        )
