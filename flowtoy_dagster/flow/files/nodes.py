"""The tree of a configuration: nodes that know where they are.

A `Node` holds a plain value or child nodes, the place of the value and, in a mapping, the place
of its key. Merging works on nodes, so positions survive it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from flowtoy_dagster.errors import Location

KeyPath = tuple[str | int, ...]
"""Keys and indexes from the top of a tree to one of its values."""


def path_text(path: Iterable[str | int], start: str = "") -> str:
    """A path for messages: `input.command[1]`; after a start, where one is given."""
    text = start
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class Mark(NamedTuple):
    """A location with its position in reading order over all files.

    Attributes:
        location: the place.
        order: the position.
        is_literal: whether it is that of a `|` block, each line of which is one of its text.
    """

    location: Location
    order: int
    is_literal: bool = False


class Node(NamedTuple):
    """A value of a configuration: a `dict` or `list` of nodes, or a scalar.

    Attributes:
        written: the text of a number or boolean in the file.
        replaces: of a list, the place of the one of an earlier file that it replaces.
    """

    value: Any
    mark: Mark
    key_mark: Mark | None = None
    written: str | None = None
    replaces: Mark | None = None

    def child(self, part: str | int) -> Node | None:
        """The child under a key or index, or None."""
        if isinstance(self.value, dict):
            return self.value.get(part)
        if isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            found: Node = self.value[part]
            return found
        return None

    def at(self, path: KeyPath) -> Node | None:
        """What is at a path below it; None where nothing is."""
        node: Node | None = self
        for part in path:
            node = node.child(part) if node is not None else None
        return node

    def indexes(self, path: KeyPath) -> range:
        """The indexes of the list at a path; none where there is no list."""
        node = self.at(path)
        return range(len(node.value) if node is not None and isinstance(node.value, list) else 0)

    def scalars(self, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
        """All that is neither a mapping nor a list, each with its place below `path`."""
        if isinstance(self.value, dict):
            for key, child in self.value.items():
                yield from child.scalars((*path, key))
        elif isinstance(self.value, list):
            for index, child in enumerate(self.value):
                yield from child.scalars((*path, index))
        else:
            yield path, self

    def plain(self) -> Any:
        """The value without positions, as JSON would hold it."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def present(self, path: KeyPath) -> KeyPath:
        """The parts of a path that are in the tree; the others are passed over, as below."""
        node, found = self, list[str | int]()
        for part in path:
            child = node.child(part)
            if child is not None:
                node = child
                found.append(part)
        return tuple(found)

    def nearest(self, path: KeyPath, *, key: bool = False) -> Mark:
        """The mark of `path`, or of the deepest of its parts that is there.

        Parts that are not in the tree are passed over, so the location of a pydantic error,
        which has names of union members in it, can be given as it is.

        Args:
            path: keys and indexes from this node.
            key: the place of the last key instead of its value's.
        """
        node, last_missing = self, False
        for part in path:
            child = node.child(part)
            last_missing = child is None
            node = child or node
        if key and not last_missing and node.key_mark:
            return node.key_mark
        return node.mark


def merge(base: Node, over: Node) -> Node:
    """Deep-merge: mappings key by key at every depth, anything else replaces."""
    if isinstance(base.value, list) and isinstance(over.value, list):
        return over._replace(replaces=base.mark)
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, node in over.value.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return Node(merged, over.mark if over.value else base.mark, over.key_mark or base.key_mark)


def merge_configurations(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Deep-merge: mappings key by key, anything else replaces (language 1.1)."""
    merged = dict(base)
    for key, value in over.items():
        here = merged.get(key)
        both = isinstance(here, dict) and isinstance(value, dict)
        merged[key] = merge_configurations(here, value) if both else value  # type: ignore[arg-type]
    return merged


_DEEPEST = 200
"""Levels of a mapping that came from no file, as JSON may have."""


def from_plain(value: Any, mark: Mark, path: KeyPath = ()) -> Node:
    """A tree for a mapping that came from no file; every place is `mark`.

    Raises:
        ValueError: it is nested too deep (or holds itself), two of its keys are the same as text,
            a text is not Unicode, or no file could hold a value; names its path.
    """
    if len(path) > _DEEPEST:
        raise ValueError(f"nested more than {_DEEPEST} levels deep")
    if isinstance(value, Mapping):
        found = {_text(k): from_plain(v, mark, (*path, _text(k))) for k, v in value.items()}
        if len(found) < len(value):
            twice = next(key for key in map(str, value) if sum(str(k) == key for k in value) > 1)
            raise ValueError(f"the key '{twice}' is given twice")
        return Node(found, mark)
    if isinstance(value, (list, tuple)):
        items = enumerate(value)
        return Node([from_plain(item, mark, (*path, index)) for index, item in items], mark)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path_text(path)}: {value} is not a number that JSON can hold")
    if value is not None and not isinstance(value, (str, int, float)):
        raise ValueError(
            f"{path_text(path)}: expected what a file can hold, got a value of Python's type "
            f"'{type(value).__name__}'"
        )
    return Node(_text(value) if isinstance(value, str) else value, mark)


def _text(value: Any) -> str:
    text = str(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("a text in it is not valid Unicode") from None
    return text
