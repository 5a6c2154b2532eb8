"""Comparisons of states with a word that no state is, which are never true (language 6.3)."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

from jinja2 import nodes

from flowtoy_dagster.flow.templates.references import path_in, tree_of

STEP_STATES = ("succeeded", "failed", "skipped")
RUN_STATES = ("succeeded", "failed", "cancelled")
"""What `run.state` is in templates."""


class ComparedState(NamedTuple):
    """A comparison of a state.

    Attributes:
        written: the state, such as `steps.load.state`.
        word: the text with which it is compared.
        states: what it can be.
        line: where in the template.
    """

    written: str
    word: str
    states: tuple[str, ...]
    line: int


@functools.lru_cache(maxsize=4096)
def never_equal(source: str) -> tuple[ComparedState, ...]:
    """The comparisons in a template with a word that no state is.

    Args:
        source: a template that `references` takes.
    """
    if ".state" not in source:
        return ()
    return tuple(
        compared
        for node in tree_of(source).find_all(nodes.Compare)
        for compared in _compared(node)
        if compared.word not in compared.states
    )


def _compared(node: nodes.Compare) -> Iterator[ComparedState]:
    sides = [node.expr, *(operand.expr for operand in node.ops)]
    for side in sides:
        path = path_in(side)
        states = _states_of(path)
        if states is None:
            continue
        written = ".".join(map(str, path))
        for other in sides:
            for word in _words(other):
                yield ComparedState(written, word, states, node.lineno)


def _states_of(path: tuple[str | int, ...]) -> tuple[str, ...] | None:
    if len(path) == 3 and (path[0], path[2]) == ("steps", "state"):
        return STEP_STATES
    return RUN_STATES if path == ("run", "state") else None


def _words(node: nodes.Node) -> Iterator[str]:
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, (nodes.List, nodes.Tuple)):
        for item in node.items:
            yield from _words(item)
