"""Warnings of single braces where a template was meant: `{params.day}` (language 6.1)."""

from __future__ import annotations

import re

from flowtoy_dagster.flow.compile.diagnostics import Diagnostics
from flowtoy_dagster.flow.files.nodes import KeyPath, Node
from flowtoy_dagster.flow.templates.names import BATCH, ITEM, ROOTS

# `$` stands before what a shell or JavaScript replaces.
_ROOTS = "|".join([*ROOTS, ITEM, BATCH])
_SINGLE = re.compile(rf"(?<![{{$])\{{\s*(?:{_ROOTS})[.\[][^{{}}\n]*\}}(?!\}})")


def warn_of_single_braces(problems: Diagnostics, root: Node, path: KeyPath) -> None:
    """Warn of texts in a configuration or an input that look like templates and are none.

    Args:
        problems: takes the warnings.
        root: the document's tree.
        path: where the configuration or the input is.
    """
    node: Node | None = root
    for part in path:
        node = node.child(part) if node else None
    waiting = [(path, node)] if node is not None else []
    while waiting:
        place, one = waiting.pop(0)
        if isinstance(one.value, dict):
            waiting += [((*place, key), child) for key, child in one.value.items()]
        elif isinstance(one.value, list):
            waiting += [((*place, index), child) for index, child in enumerate(one.value)]
        elif isinstance(one.value, str) and (found := _SINGLE.search(one.value)):
            meant = found[0][1:-1].strip()
            problems.warning(
                place, f"'{found[0]}' is not replaced", f"write {{{{ {meant} }}}}, if that is meant"
            )
