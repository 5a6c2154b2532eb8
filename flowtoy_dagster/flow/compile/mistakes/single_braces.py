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
    node = root.at(path)
    if node is None:
        return
    for place, scalar in node.scalars(path):
        if isinstance(scalar.value, str) and (found := _SINGLE.search(scalar.value)):
            meant = found[0][1:-1].strip()
            problems.warning(
                place, f"'{found[0]}' is not replaced", f"write {{{{ {meant} }}}}, if that is meant"
            )
