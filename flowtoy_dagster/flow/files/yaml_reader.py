"""YAML text to a tree of nodes, within bounds of size and depth (language 1.2, 1.3, 1.6)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from flowtoy_dagster.errors import ConfigError, Location, Problem
from flowtoy_dagster.flow.files.nodes import Mark, Node
from flowtoy_dagster.flow.files.yaml_errors import mistake_in, mistake_of_key, refused_character

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 100
MAX_NODES = 300_000
MAX_EXPANDED_CHARACTERS = 16 * 1024 * 1024

_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
_OPEN = (0, 0, 0)
_STRING_TAG = "tag:yaml.org,2002:str"
_MERGE_TAG = "tag:yaml.org,2002:merge"
_LONE_MARK = re.compile(r"(?:&\S+\s+)?!(?=[\s,\]}]|\Z)")
"""`! x`: YAML takes the mark for a tag that says nothing, and drops it."""
_NO_MARK = "a value that begins with '!' must be quoted; a condition is negated by 'not'"
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")}
# Plain scalars that YAML 1.1 has types for and JSON has not: `2024-01-31`, `=`, `<<`.
_TEXT_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("timestamp", "value", "merge")}


class _BoundsError(yaml.YAMLError):
    """Raised while nodes are composed: too many, or too deep."""

    def __init__(self, message: str, mark: yaml.Mark) -> None:
        super().__init__(message)
        self.mark = mark


# libyaml's parser where it was built in: ten times as fast on a long flow.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Composes nodes down to a limit: libyaml's own recursion would end the process."""

    _depth = 0
    _count = 0

    def descend_resolver(self, parent: yaml.Node | None, index: Any) -> None:
        self._depth += 1
        self._count += 1
        if parent is not None and self._depth > MAX_DEPTH:
            raise _BoundsError(_TOO_DEEP, parent.start_mark)
        if parent is not None and self._count > MAX_NODES:
            raise _BoundsError(f"more than {MAX_NODES} values", parent.start_mark)

    def ascend_resolver(self) -> None:
        self._depth -= 1


def read_document(text: str, file: str, first_order: int = 0) -> Node:
    """Parse one YAML text.

    Args:
        text: the file's content.
        file: the name to give in locations.
        first_order: added to every position, so that files sort one after another.

    Raises:
        ConfigError: the text is not YAML, uses what the language rejects, or is too large.
    """
    builder = _Builder(text, file, first_order)
    root = _compose(text, builder)
    if root is None:
        return Node({}, Mark(Location(file, 1, 1), first_order))
    builder.measure(root)
    builder.stop_if_refused()
    node = builder.build(root)
    builder.stop_if_refused()
    return Node({}, node.mark) if node.value is None else node


def _compose(text: str, builder: _Builder) -> yaml.Node | None:
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if mark:
            _check_bounds_before(text[: mark.index], builder)
        found = mistake_in(text, error)
        if found is None:
            builder.reject(None, f"not valid YAML: {error.problem}")
        else:
            builder.reject(_mark_at(text, found.at), found.message, found.hint)
    except _BoundsError as error:
        builder.reject(error.mark, str(error))
    except yaml.YAMLError as error:
        found = refused_character(text, error)
        builder.reject(_mark_at(text, found.at), found.message, found.hint)
    else:
        return root
    builder.stop_if_refused()
    return None


def _check_bounds_before(text: str, builder: _Builder) -> None:
    """Report that the text before a syntax error is already too deep or too large.

    libyaml scans up to 1,024 characters further than it composes, and some of its versions have a
    limit of depth of their own, so that they report what comes later in the text first.
    """
    try:
        yaml.compose(text, Loader=_Loader)
    except _BoundsError as error:
        builder.reject(error.mark, str(error))
        builder.stop_if_refused()
    except yaml.YAMLError:
        """The text is cut, so that this may be no error of the whole."""


def _mark_at(text: str, position: int) -> yaml.Mark:
    before = text[:position]
    column = position - (before.rfind("\n") + 1)
    return yaml.Mark("", position, before.count("\n"), column, "", 0)


class _Builder:
    """Turns PyYAML's nodes into ours and collects what is wrong with them."""

    def __init__(self, text: str, file: str, first_order: int) -> None:
        self.text = text
        self.file = file
        self.first_order = first_order
        self.problems: list[Problem] = []
        self._scalars: Any = yaml.constructor.SafeConstructor()
        self._built: dict[int, Node] = {}
        self._sizes: dict[int, tuple[int, int, int]] = {}

    def mark(self, node: yaml.Node) -> Mark:
        start = node.start_mark
        is_literal = isinstance(node, yaml.ScalarNode) and node.style == "|"
        return Mark(self._place(start), self.first_order + start.index, is_literal)

    def _place(self, mark: yaml.Mark) -> Location:
        return Location(self.file, mark.line + 1, mark.column + 1)

    def reject(self, mark: yaml.Mark | None, message: str, hint: str | None = None) -> None:
        place = self._place(mark) if mark else None
        order = self.first_order + (mark.index if mark else 0)
        problem = Problem(message, place, hint, order=order)
        if problem not in self.problems:
            self.problems.append(problem)

    def stop_if_refused(self) -> None:
        if self.problems:
            raise ConfigError(self.problems)

    def measure(self, node: yaml.Node) -> tuple[int, int, int]:
        """Nodes, characters and levels with aliases followed; rejects what is too much.

        Sizes of shared nodes are computed once, so this takes time in proportion to the text. An
        anchor stands before its aliases, so recursion is as deep as the text, not as its aliases.
        """
        if isinstance(node, yaml.ScalarNode):
            return 1, len(node.value), 1
        known = self._sizes.get(id(node))
        if known is not None:
            if known is _OPEN:
                self.reject(node.start_mark, "the anchor refers to itself")
            return known
        self._sizes[id(node)] = _OPEN
        count, characters, levels = 1, 0, 0
        for child in _children(node):
            nodes, length, depth = self.measure(child)
            count, characters, levels = count + nodes, characters + length, max(levels, depth)
        if count > MAX_NODES or characters > MAX_EXPANDED_CHARACTERS:
            self._stop(node, "too large once its aliases are expanded")
        if levels >= MAX_DEPTH:
            self._stop(node, _TOO_DEEP)
        self._sizes[id(node)] = (count, characters, levels + 1)
        return self._sizes[id(node)]

    def _stop(self, node: yaml.Node, message: str) -> NoReturn:
        # What contains an anchor that refers to itself is as large as it was already.
        if not self.problems:
            self.reject(node.start_mark, message)
        raise ConfigError(self.problems)

    def build(self, node: yaml.Node) -> Node:
        # Aliases share what was built: expanding them costs nothing here.
        if id(node) not in self._built:
            if _LONE_MARK.match(self.text, node.start_mark.index):
                self.reject(node.start_mark, "a value can't begin with '!'", _NO_MARK)
            if isinstance(node, yaml.MappingNode):
                value: Any = self._mapping(node)
            elif isinstance(node, yaml.SequenceNode):
                self._check_tag(node, "tag:yaml.org,2002:seq")
                value = [self.build(child) for child in node.value]
            else:
                value = self._scalar(node)
            is_scalar = isinstance(value, (bool, int, float))
            written = str(node.value) if is_scalar else None
            self._built[id(node)] = Node(value, self.mark(node), written=written)
        return self._built[id(node)]

    def _check_tag(self, node: yaml.Node, expected: str) -> None:
        if node.tag != expected:
            short = node.tag.replace("tag:yaml.org,2002:", "!!")
            message = f"the YAML tag '{short}' is not allowed"
            is_all = isinstance(node, yaml.ScalarNode) and not node.value  # as in `when: !a.b`
            self.reject(node.start_mark, message, _NO_MARK if is_all else "write a plain value")

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Node]:
        self._check_tag(node, "tag:yaml.org,2002:map")
        own: dict[str, Node] = {}
        inherited: dict[str, Node] = {}
        first_at: dict[str, yaml.Mark] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                twice = isinstance(key_node, yaml.MappingNode)
                hint = "a value that begins with '{{' must be quoted" if twice else None
                self.reject(key_node.start_mark, "a key must be text", hint)
                continue
            # A key is the text as written: `on`, `1` and `null` are names like others.
            key, mark = key_node.value, key_node.start_mark
            mistake = mistake_of_key(key_node, value_node)
            if mistake is not None:
                self.reject(mark, *mistake)
                continue
            if key in first_at:
                place = self._place(first_at[key])
                message = f"the key '{key}' is given twice; first at {place}"
                merges = key_node.tag == _MERGE_TAG
                self.reject(mark, message, "write <<: [*one, *other]" if merges else None)
                continue
            first_at[key] = mark
            if key_node.tag == _MERGE_TAG:
                inherited = self._merged(value_node)
            else:
                built = self.build(value_node)
                own[key] = built._replace(key_mark=self.mark(key_node))
        return {**{k: v for k, v in inherited.items() if k not in own}, **own}

    def _merged(self, node: yaml.Node) -> dict[str, Node]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Node] = {}
        for part in parts:
            if isinstance(part, yaml.MappingNode):
                merged = {**self.build(part).value, **merged}
            else:
                self.reject(part.start_mark, "'<<' takes a mapping or a list of mappings")
        return merged

    def _scalar(self, node: yaml.Node) -> Any:
        if node.tag == _STRING_TAG or node.tag in _TEXT_TAGS:
            return node.value
        if node.tag not in _PLAIN_TAGS:
            self._check_tag(node, "")
            return None
        try:
            value = self._scalars.construct_object(node)
        except (ValueError, yaml.YAMLError):
            message = f"'{node.value}' is not a value of its YAML type"
            self.reject(node.start_mark, message, "quote it")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            message = f"'{node.value}' is not a number that JSON can hold"
            self.reject(node.start_mark, message, "quote it")
            return None
        return value


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value
