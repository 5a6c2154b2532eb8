"""What a template refers to, read from its syntax tree (language 8.2)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jinja2
from jinja2 import nodes

from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.files.suggestions import nearest
from flowtoy_dagster.flow.templates.jinja import environment
from flowtoy_dagster.flow.templates.names import LOOP, ROOTS, expression
from flowtoy_dagster.flow.templates.render import is_template, parse
from flowtoy_dagster.flow.templates.words.syntax_words import why_no_template

REFERRING = ("flows", "steps", "sources", "params", "env")
ITEM_ATTRIBUTES = ("items", "counts")
"""What `steps.<name>` has of a step that is repeated."""
STEP_ATTRIBUTES = ("state", "error", "outputs", "result", *ITEM_ATTRIBUTES)
RESULT_ATTRIBUTES = ("success", "code", "notes", "data", "meta")
_MAPPING_METHODS = ("items", "keys", "values", "get")
_GIVEN_BY_JINJA = ("loop", "caller", "varargs", "kwargs", "self", "super")
_REFUSED = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block)
_GIVE_TO: Mapping[str, tuple[str, int]] = {
    "map": ("filter", 0), "select": ("test", 0), "reject": ("test", 0), "selectattr": ("test", 1),
    "rejectattr": ("test", 1),
}
"""Filters that give each item to the filter or test that one of their arguments names."""
_DAY = "a time is a text in UTC: run.started_at[:10] is its day"
_INSTEAD: Mapping[tuple[str, str], str] = {
    ("filter", "date"): _DAY, ("filter", "date_format"): _DAY, ("filter", "strftime"): _DAY,
    ("filter", "split"): "a text has a method for it: value.split(',')",
    ("test", "empty"): "write 'not value'",
}
"""What to write for a filter or a test that other tools have."""


@dataclass(frozen=True)
class Reference:
    """A mention of `flows`, `steps`, `sources`, `params` or `env` in a template.

    Attributes:
        root: the name that the mention begins with.
        step: the step's, source's, parameter's or variable's written name; None where the root is
            taken whole.
        output: the output's name, where the template names one.
        attribute: for `steps`, the attribute after the step (`state`, `result`, …).
        line: where in the template, from 1.
    """

    root: str
    step: str | None = None
    output: str | None = None
    attribute: str | None = None
    line: int = field(default=1, compare=False)

    @property
    def written(self) -> str:
        """The mention as an expression: `flows.a.rows`."""
        return expression(self.root, self.step, self.attribute, self.output)

    @property
    def as_needed(self) -> str | None:
        """The expression of what a skipped step does not have; None where it has that."""
        if self.step is None:
            return None
        if self.root == "steps" and self.attribute not in ("outputs", "result"):
            return None
        return self.written


class TemplateMistake(ValueError):  # noqa: N818 - what it is
    """A template that can never work; `line` counts from 1 within the template."""

    def __init__(self, message: str, line: int = 1, hint: str | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.hint = hint


def templates_in(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Every template string in a structure, with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from templates_in(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from templates_in(item, (*path, index))
    elif is_template(value):
        yield path, value


@functools.lru_cache(maxsize=8)
def tree_of(source: str) -> nodes.Template:
    """The syntax tree, kept while one question after another is asked about a template."""
    return parse(source)


@functools.lru_cache(maxsize=4096)
def references(source: str) -> frozenset[Reference]:
    """What a template refers to through `flows`, `steps` and `sources`.

    Raises:
        TemplateMistake: it is not a template, or uses what templates here can't.
    """
    try:
        tree = tree_of(source)
    except jinja2.TemplateSyntaxError as error:
        reason, hint = why_no_template(error, source)
        raise TemplateMistake(f"not a valid template: {reason}", error.lineno, hint) from None
    except RecursionError:
        raise TemplateMistake("not a valid template: nested too deeply") from None
    return frozenset(_walk(tree, called=False))


@functools.lru_cache(maxsize=4096)
def free_names(source: str) -> Mapping[str, int]:
    """The names that a template looks up although nothing gives them, and the line of each.

    Args:
        source: a template that `references` takes.
    """
    tree = tree_of(source)
    given = {*ROOTS, *_GIVEN_BY_JINJA, *environment.globals}
    given |= {macro.name for macro in tree.find_all(nodes.Macro)}
    found: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.ctx != "load":
            given.add(node.name)
        elif node.name not in given:
            found.setdefault(node.name, node.lineno)
    return {name: line for name, line in found.items() if name not in given}


def words_of(source: str) -> frozenset[str]:
    """All names that a template looks up, whatever defines them.

    Args:
        source: a template that `references` takes.
    """
    found = tree_of(source).find_all(nodes.Name)
    return frozenset(node.name for node in found if node.ctx == "load")


@functools.lru_cache(maxsize=4096)
def loop_words(source: str) -> Mapping[str | None, int]:
    """What a template takes of `loop` outside of its own `{% for %}`, and the line of each.

    Args:
        source: a template that `references` takes.

    Returns:
        lines by attribute; None stands for `loop` as a whole, or an attribute that is computed.
    """
    found: dict[str | None, int] = {}
    for word, line in _loop_words(tree_of(source)):
        found.setdefault(word, line)
    return found


def _loop_words(node: nodes.Node) -> Iterator[tuple[str | None, int]]:
    root, parts, extra = _chain(node)
    if isinstance(root, nodes.Name) and root.name == LOOP:
        if root.ctx == "load":
            yield parts[0] if parts else None, node.lineno
        for child in extra:
            yield from _loop_words(child)
        return
    if isinstance(node, nodes.For):
        # Its list and what comes in its place where that is empty stand outside of it.
        for child in (node.iter, *node.else_):
            yield from _loop_words(child)
        return
    for child in node.iter_child_nodes():
        yield from _loop_words(child)


@functools.lru_cache(maxsize=4096)
def attributes_of(source: str, name: str) -> Mapping[str | None, int]:
    """What a template takes of a name, and the line of each.

    Args:
        source: a template that `references` takes.
        name: the name.

    Returns:
        lines by attribute; None stands for the name as a whole, or an attribute that is computed.
    """
    found: dict[str | None, int] = {}
    pending: list[nodes.Node] = [tree_of(source)]
    while pending:
        node = pending.pop()
        root, parts, extra = _chain(node)
        if isinstance(root, nodes.Name) and root.name == name:
            found.setdefault(parts[0] if parts else None, node.lineno)
            pending += extra
        else:
            pending += node.iter_child_nodes()
    return found


@functools.lru_cache(maxsize=4096)
def asked_names(source: str) -> frozenset[KeyPath]:
    """What a template asks for before it uses it: it may be missing (language 6.4).

    Args:
        source: a template that `references` takes.

    Returns:
        names, and beginnings of paths: `("x",)`, `("sources", "api")`.
    """
    return frozenset(
        path[:length]
        for node in tree_of(source).find_all(_ASKING)
        for asked in _asked_by(node)
        for path in [path_in(asked)]
        for length in (1, 2)
    )


@functools.lru_cache(maxsize=4096)
def needed(source: str) -> frozenset[Reference]:
    """What a template refers to and does not guard (language 19.2).

    Guarded are references that `default`, `is defined`, `or` or `if` ask for, and those that are
    looked at only in some cases: in fallbacks, branches and bodies of loops.

    Args:
        source: a template that `references` takes.
    """
    return frozenset(_needs(tree_of(source)))


_IN_SOME_CASES = (nodes.Macro, nodes.CallBlock)


def _needs(node: nodes.Node) -> Iterator[Reference]:
    """The references that are looked at whenever a node is rendered, and may not be missing."""
    asked = _asked_by(node)[:1] if isinstance(node, _ASKING) else []
    if asked:
        yield from _needs_of_asked(asked[0])
        return
    if isinstance(node, nodes.Assign):
        yield from _needs_of_asked(node.node)
    elif isinstance(node, nodes.For):
        yield from _needs(node.iter)
    elif not isinstance(node, _IN_SOME_CASES):
        root, parts, extra = _chain(node)
        if isinstance(root, nodes.Name) and root.ctx == "load" and root.name in REFERRING:
            yield _reference(root.name, parts, False, node.lineno)
            for child in extra:
                yield from _needs(child)
            return
        for child in node.iter_child_nodes():
            yield from _needs(child)


def _needs_of_asked(node: nodes.Node) -> Iterator[Reference]:
    """What must be there to ask whether a node is there: all but the node itself."""
    root, _, extra = _chain(node)
    if not isinstance(root, nodes.Name):
        yield from _needs(node)
        return
    for child in extra:
        yield from _needs(child)


_ASKING = (nodes.Test, nodes.Filter, nodes.If, nodes.CondExpr, nodes.Not, nodes.And, nodes.Or)


def _asked_by(node: nodes.Node) -> list[nodes.Node]:
    """The expressions that a node asks for without harm where they are missing."""
    if isinstance(node, nodes.Test):
        return [node.node] if node.name in ("defined", "undefined") else []
    if isinstance(node, nodes.Filter):
        return [node.node] if node.name in ("default", "d") and node.node else []
    if isinstance(node, (nodes.If, nodes.CondExpr)):
        return [node.test]
    if isinstance(node, nodes.Not):
        return [node.node]
    assert isinstance(node, (nodes.And, nodes.Or))
    return [node.left, node.right]


def path_in(node: nodes.Node) -> KeyPath:
    """`sources.api["url"]` as its parts, up to one that is computed."""
    root, parts, _ = _chain(node)
    written = itertools.takewhile(lambda part: part is not None, parts)
    return (root.name, *map(str, written)) if isinstance(root, nodes.Name) else ()


def _walk(node: nodes.Node, *, called: bool) -> Iterator[Reference]:
    _check(node)
    root, parts, extra = _chain(node)
    if isinstance(root, nodes.Name) and root.ctx == "load" and root.name in REFERRING:
        yield _reference(root.name, parts, called, node.lineno)
        for child in extra:
            yield from _walk(child, called=False)
        return
    for child in node.iter_child_nodes():
        is_callee = isinstance(node, nodes.Call) and child is node.node
        yield from _walk(child, called=is_callee)


def _check(node: nodes.Node) -> None:
    if isinstance(node, _REFUSED):
        kind = type(node).__name__.lower()
        raise TemplateMistake(f"'{kind}' can't be used in a flow's templates", node.lineno)
    if isinstance(node, nodes.Name) and node.ctx != "load" and node.name in ROOTS:
        raise TemplateMistake(
            f"'{node.name}' can't be assigned: it is the name of flowtoy's own", node.lineno,
            "choose another name",
        )
    for kind, name in _filters_and_tests(node):
        known = environment.filters if kind == "filter" else environment.tests
        if name not in known:
            hint = _INSTEAD.get((kind, name)) or nearest(name, sorted(known)).question
            raise TemplateMistake(f"there is no {kind} '{name}'", node.lineno, hint)


def _filters_and_tests(node: nodes.Node) -> Iterator[tuple[str, str]]:
    """Which filter or test a node is, and which one it gives its items to: `map('upper')`."""
    if isinstance(node, nodes.Test):
        yield "test", node.name
    if not isinstance(node, nodes.Filter):
        return
    yield "filter", node.name
    kind, place = _GIVE_TO.get(node.name, ("", 0))
    if kind and len(node.args) > place:
        named = node.args[place]
        if isinstance(named, nodes.Const) and isinstance(named.value, str):
            yield kind, named.value


def _chain(node: nodes.Node) -> tuple[nodes.Node, list[str | None], list[nodes.Node]]:
    """`flows.a["x"][i]` as its root, its parts (None: computed) and the computed nodes."""
    parts: list[str | None] = []
    extra: list[nodes.Node] = []
    while isinstance(node, (nodes.Getattr, nodes.Getitem)):
        if isinstance(node, nodes.Getattr):
            parts.append(node.attr)
        elif isinstance(node.arg, nodes.Const):
            parts.append(str(node.arg.value))
        else:
            parts.append(None)
            extra.append(node.arg)
        node = node.node
    return node, parts[::-1], extra


def _reference(root: str, parts: list[str | None], called: bool, line: int) -> Reference:
    if called and parts and parts[-1] in _MAPPING_METHODS:
        parts = parts[:-1]
    step = parts[0] if parts else None
    if step is None:
        return Reference(root, line=line)
    rest = parts[1:]
    if root != "steps":
        return Reference(root, step, output=rest[0] if rest else None, line=line)
    attribute = rest[0] if rest else None
    if attribute is not None and attribute not in STEP_ATTRIBUTES:
        raise TemplateMistake(
            f"'steps.{step}' has no '{attribute}'", line, nearest(attribute, STEP_ATTRIBUTES).hint
        )
    within = rest[1] if len(rest) > 1 else None
    if attribute == "result" and within is not None and within not in RESULT_ATTRIBUTES:
        hint = nearest(within, RESULT_ATTRIBUTES).hint
        raise TemplateMistake(f"'steps.{step}.result' has no '{within}'", line, hint)
    output = within if attribute == "outputs" else None
    return Reference(root, step, output=output, attribute=attribute, line=line)
