"""Warnings of templates where none is rendered: in names and tags (language 6.1)."""

from __future__ import annotations

from collections.abc import Iterator

from flowtoy_dagster.flow.compile.diagnostics import Diagnostics
from flowtoy_dagster.flow.files.nodes import KeyPath, Node
from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.templates.render import is_template

_HINT = "templates are rendered in what a step calls and in the values of its outputs"


def warn_of_unrendered(problems: Diagnostics, root: Node) -> None:
    """Warn of names and tags that look like templates, and stay as they are.

    Args:
        problems: takes the warnings.
        root: the document's tree.
    """
    sources = root.child("sources")
    for name in sources.value if sources is not None and isinstance(sources.value, dict) else ():
        if is_template(name):
            problems.warning(("sources", name), _told(name), _HINT, key=True)
    for path in _places(root):
        node = root.at(path)
        for place, scalar in node.scalars(path) if node is not None else ():
            if is_template(scalar.value):
                problems.warning(place, _told(scalar.value), _HINT)


def _told(text: str) -> str:
    return f"{show(text)} is not rendered here"


def _places(root: Node) -> Iterator[KeyPath]:
    """Where names and tags are."""
    yield from (("name",), ("tags",))
    for step in root.indexes(("flow",)):
        yield from (("flow", step, "name"), ("flow", step, "tags"))
        for output in root.indexes(("flow", step, "output")):
            yield ("flow", step, "output", output, "name")
