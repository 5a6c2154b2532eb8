"""YAML text to a tree of nodes that know where they stand.

A `Node` holds a plain value or child nodes, the place of the value and, in a mapping, the place
of its key. Merging works on nodes, so positions survive it.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from flowtoy_dagster.errors import ConfigError, Location, Problem

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 100
MAX_NODES = 500_000
MAX_EXPANDED_CHARACTERS = 16 * 1024 * 1024

# libyaml's parser where it was built in: ten times as fast on a long flow.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE_TAG = "tag:yaml.org,2002:merge"
_TIMESTAMP_TAG = "tag:yaml.org,2002:timestamp"
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")}

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Mark:
    """A location with its position in reading order over all files."""

    location: Location
    order: int
    block: bool = False


@dataclass(frozen=True)
class Node:
    """A value of a configuration: a `dict` or `list` of nodes, or a scalar."""

    value: Any
    mark: Mark
    key_mark: Mark | None = None

    def child(self, part: str | int) -> Node | None:
        """The child under a key or index, or None."""
        if isinstance(self.value, dict):
            return self.value.get(part)
        if isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            found: Node = self.value[part]
            return found
        return None

    def plain(self) -> Any:
        """The value without positions, as JSON would hold it."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def nearest(self, path: Sequence[str | int], *, key: bool = False) -> Mark:
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


def read_document(text: str, file: str, first_order: int = 0) -> Node:
    """Parse one YAML text.

    Args:
        text: the file's content.
        file: the name to give in locations.
        first_order: added to every position, so that files sort one after another.

    Raises:
        ConfigError: the text is not YAML, uses what the language refuses, or is too large.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Location(file, mark.line + 1, mark.column + 1) if mark else None
        order = first_order + (mark.line * 10_000 + mark.column if mark else 0)
        what = " ".join(filter(None, (error.context, error.problem)))
        raise ConfigError([Problem(f"not valid YAML: {what}", place, _hint(what), order=order)])
    except yaml.YAMLError as error:
        line, column = _character_place(text, getattr(error, "position", 0))
        message = f"not valid YAML: {getattr(error, 'reason', None) or error}"
        raise ConfigError([Problem(message, Location(file, line, column), order=first_order)])
    except RecursionError:
        message = f"nested more than {MAX_DEPTH} levels deep"
        raise ConfigError([Problem(message, Location(file, 1, 1), order=first_order)]) from None
    builder = _Builder(file, first_order)
    if root is None:
        return Node({}, Mark(Location(file, 1, 1), first_order))
    builder.measure(root)
    if builder.problems:
        raise ConfigError(builder.problems)
    node = builder.build(root)
    if builder.problems:
        raise ConfigError(builder.problems)
    if node.value is None:
        return Node({}, node.mark)
    return node


def merge(base: Node, over: Node) -> Node:
    """Deep-merge: mappings key by key at every depth, anything else replaces."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, node in over.value.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return Node(merged, over.mark if over.value else base.mark, over.key_mark or base.key_mark)


def from_plain(value: Any, mark: Mark) -> Node:
    """A tree for a mapping that came from no file; every place is `mark`."""
    if isinstance(value, dict):
        return Node({str(key): from_plain(item, mark) for key, item in value.items()}, mark)
    if isinstance(value, (list, tuple)):
        return Node([from_plain(item, mark) for item in value], mark)
    return Node(value, mark)


def _hint(what: str) -> str | None:
    if "found character '\\t'" in what:
        return "indent with spaces, not tabs"
    if "mapping values are not allowed" in what:
        return "a value that contains ': ' must be quoted"
    if "did not find expected key" in what or "unhashable" in what:
        return "a value that begins with '{{' must be quoted"
    return None


def _character_place(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


class _Builder:
    """Turns PyYAML's nodes into ours and collects what is wrong with them."""

    def __init__(self, file: str, first_order: int) -> None:
        self.file = file
        self.first_order = first_order
        self.problems: list[Problem] = []
        self._scalars: Any = yaml.constructor.SafeConstructor()
        self._built: dict[int, Node] = {}

    def mark(self, node: yaml.Node) -> Mark:
        start = node.start_mark
        place = Location(self.file, start.line + 1, start.column + 1)
        block = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
        return Mark(place, self.first_order + start.line * 10_000 + start.column, block)

    def refuse(self, node: yaml.Node, message: str, hint: str | None = None) -> None:
        mark = self.mark(node)
        self.problems.append(Problem(message, mark.location, hint, order=mark.order))

    def measure(self, root: yaml.Node) -> None:
        """Refuse what would not end or not fit when aliases are followed, without following them.

        Sizes of shared nodes are computed once, so this takes time in proportion to the text.
        """
        sizes: dict[int, tuple[int, int]] = {}
        open_nodes: set[int] = set()
        stack: list[tuple[yaml.Node, bool]] = [(root, False)]
        while stack and not self.problems:
            node, done = stack.pop()
            if done:
                open_nodes.discard(id(node))
                children = list(_children(node))
                count = 1 + sum(sizes[id(child)][0] for child in children)
                characters = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
                characters += sum(sizes[id(child)][1] for child in children)
                sizes[id(node)] = (count, characters)
                if count > MAX_NODES or characters > MAX_EXPANDED_CHARACTERS:
                    self.refuse(node, "too large once its aliases are expanded")
            elif id(node) in open_nodes:
                self.refuse(node, "the anchor refers to itself")
            elif id(node) not in sizes:
                open_nodes.add(id(node))
                if len(open_nodes) > MAX_DEPTH:
                    self.refuse(node, f"nested more than {MAX_DEPTH} levels deep")
                stack.append((node, True))
                stack.extend((child, False) for child in reversed(list(_children(node))))

    def build(self, node: yaml.Node) -> Node:
        # Aliases share what was built: expanding them costs nothing here.
        if id(node) not in self._built:
            if isinstance(node, yaml.MappingNode):
                value: Any = self._mapping(node)
            elif isinstance(node, yaml.SequenceNode):
                self._check_tag(node, "tag:yaml.org,2002:seq")
                value = [self.build(child) for child in node.value]
            else:
                value = self._scalar(node)
            self._built[id(node)] = Node(value, self.mark(node))
        return self._built[id(node)]

    def _check_tag(self, node: yaml.Node, expected: str) -> None:
        if node.tag != expected:
            short = node.tag.replace("tag:yaml.org,2002:", "!!")
            self.refuse(node, f"the YAML tag '{short}' is not allowed", "write a plain value")

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Node]:
        self._check_tag(node, "tag:yaml.org,2002:map")
        own: dict[str, Node] = {}
        inherited: dict[str, Node] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE_TAG:
                for key, item in self._merged(value_node):
                    inherited.setdefault(key, item)
            elif not isinstance(key_node, yaml.ScalarNode):
                self.refuse(key_node, "a key must be text", "a value that begins with '{{' must be "
                            "quoted" if isinstance(key_node, yaml.MappingNode) else None)
            elif key_node.value in own:
                first = own[key_node.value].key_mark
                place = first.location if first else None
                self.refuse(key_node, f"the key '{key_node.value}' is given twice; first at {place}")
            else:
                # A key is the text as written: `on`, `1` and `null` are names like others.
                built = self.build(value_node)
                own[key_node.value] = replace(built, key_mark=self.mark(key_node))
        return {**{k: v for k, v in inherited.items() if k not in own}, **own}

    def _merged(self, node: yaml.Node) -> Iterator[tuple[str, Node]]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for part in parts:
            if isinstance(part, yaml.MappingNode):
                yield from self._mapping(part).items()
            else:
                self.refuse(part, "'<<' takes a mapping or a list of mappings")

    def _scalar(self, node: yaml.Node) -> Any:
        if node.tag == _TIMESTAMP_TAG:
            return node.value
        if node.tag not in _PLAIN_TAGS:
            self._check_tag(node, "")
            return None
        try:
            value = self._scalars.construct_object(node)
        except (ValueError, yaml.YAMLError):
            self.refuse(node, f"'{node.value}' is not a value of its YAML type", "quote it")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self.refuse(node, f"'{node.value}' is not a number that JSON can hold", "quote it")
            return None
        assert not isinstance(value, datetime.date)
        return value


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value
