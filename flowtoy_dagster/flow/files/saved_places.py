"""The places of a configuration's values as plain data, to be stored next to the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowtoy_dagster.errors import Location
from flowtoy_dagster.flow.files.nodes import Mark, Node
from flowtoy_dagster.machine.working_directory import absolute

_SECTIONS = ("flow", "sources")
"""What steps can fail by."""


def packed(root: Node, merged: Sequence[str] = ()) -> dict[str, Any] | None:
    """The places of the steps and the sources; None for what came from no file.

    Args:
        root: a configuration.
        merged: the files that it was merged from.

    Returns:
        `merged`; `files`, with absolute paths, and `places`: of a value the number of its file, its
        line and its column, then the places of what is in it, if anything is.
    """
    if root.mark.location.line < 1:
        return None
    files: dict[str, int] = {}

    def place(node: Node) -> list[Any]:
        at = node.mark.location
        own: list[Any] = [files.setdefault(_absolute(at.file), len(files)), at.line, at.column]
        if isinstance(node.value, dict):
            own.append({key: place(child) for key, child in node.value.items()})
        elif isinstance(node.value, list):
            own.append([place(child) for child in node.value])
        return own

    found = {key: node for key in _SECTIONS if (node := root.child(key)) is not None}
    places = {key: place(node) for key, node in found.items()}
    return {"merged": list(merged), "files": list(files), "places": places}


def merged_files(saved: Any) -> tuple[str, ...]:
    """The files that a configuration was merged from; none where that was not kept.

    Args:
        saved: what `packed` gave.
    """
    found = saved.get("merged") if isinstance(saved, dict) else None
    is_usable = isinstance(found, list) and all(isinstance(file, str) for file in found)
    return tuple(found) if is_usable and found else ()


def located(config: dict[str, Any], saved: Any, elsewhere: Mark) -> Node:
    """The tree of a configuration with the places that were kept.

    Args:
        config: plain data.
        saved: what `packed` gave; what does not fit the configuration is passed over.
        elsewhere: the place of values of which none was kept.
    """
    is_usable = isinstance(saved, dict) and isinstance(saved.get("files"), list)
    files = saved["files"] if is_usable else []
    places = saved.get("places") if is_usable else None

    def node(value: Any, at: Any) -> Node:
        mark, within = elsewhere, None
        if isinstance(at, list) and len(at) > 2 and at[0] in range(len(files)):
            mark = Mark(Location(str(files[at[0]]), int(at[1]), int(at[2])), int(at[1]))
            within = at[3] if len(at) > 3 else None
        if isinstance(value, dict):
            inner = within if isinstance(within, dict) else {}
            return Node({str(key): node(v, inner.get(key)) for key, v in value.items()}, mark)
        if isinstance(value, (list, tuple)):
            parts = within if isinstance(within, list) and len(within) == len(value) else None
            return Node(
                [node(v, parts[i] if parts is not None else None) for i, v in enumerate(value)],
                mark,
            )
        return Node(value, mark)

    known = places if isinstance(places, dict) else {}
    return Node({str(key): node(v, known.get(key)) for key, v in config.items()}, elsewhere)


def _absolute(file: str) -> str:
    """A file from the root, as far as that is known; what is no file, such as `<stdin>`, stays."""
    return file if file.startswith("<") else absolute(file) or file
