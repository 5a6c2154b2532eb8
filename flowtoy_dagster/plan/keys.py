"""Keys as people write them: `sources.crm.url`, `flow[0].timeout`, `flow.load.timeout`."""

from __future__ import annotations

import re

from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.flow.files.nodes import KeyPath, Node
from flowtoy_dagster.flow.files.suggestions import nearest

_BRACKETS = re.compile(r"\[(?:'([^']*)'|\"([^\"]*)\"|([^\]]*))\]")
_WORD = re.compile(r"[^.\[]*")


def path_of(root: Node, key: str) -> KeyPath:
    """The path of a value.

    Args:
        root: the tree that has it.
        key: keys with dots, indexes in brackets; an entry of a list may be called by its `name`.

    Raises:
        UsageError: there is no such value; says what there is.
    """
    node, path, rest = root, (), key.strip()
    found: KeyPath = path
    while rest:
        rest = rest.removeprefix(".")
        parts = _parts_of(node)
        name, length = _next_name(rest, parts)
        if name not in parts:
            raise UsageError(_why_missing(found, name, parts))
        found, rest = (*found, parts[name]), rest[length:]
        child = node.child(parts[name])
        assert child is not None, "it is one of the node's parts"
        node = child
    return found


def shown_path(path: KeyPath) -> str:
    """A path as `path_of` reads it."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.search(r"[.\[\]]", part):
            text += f"[{part!r}]"
        else:
            text += f".{part}" if text else part
    return text


def _parts_of(node: Node) -> dict[str, str | int]:
    """What can follow in a path: keys, indexes and the names of a list's entries."""
    if isinstance(node.value, dict):
        return {str(key): key for key in node.value}
    if not isinstance(node.value, list):
        return {}
    parts: dict[str, str | int] = {str(index): index for index in range(len(node.value))}
    for index, child in enumerate(node.value):
        named = child.child("name")
        if named is not None:
            parts.setdefault(str(named.value), index)
    return parts


def _next_name(rest: str, parts: dict[str, str | int]) -> tuple[str, int]:
    """The name that a key goes on with, and how many characters it takes."""
    brackets = _BRACKETS.match(rest)
    if brackets is not None:
        return next(name for name in brackets.groups() if name is not None), brackets.end()
    fitting = [
        name for name in parts
        if name and rest.startswith(name) and rest[len(name) : len(name) + 1] in ("", ".", "[")
    ]
    if fitting:
        name = max(fitting, key=len)
        return name, len(name)
    word = _WORD.match(rest)
    assert word is not None, "it matches nothing, too"
    return word[0], word.end()


def _why_missing(path: KeyPath, name: str, parts: dict[str, str | int]) -> str:
    whole = f"'{shown_path(path)}'" if path else "the configuration"
    hint = nearest(name, parts).hint if parts else "it is a single value"
    return f"{whole} has no '{name}'\n    {hint}"
