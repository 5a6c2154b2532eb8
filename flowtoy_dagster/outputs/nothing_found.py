"""Why an expression finds nothing although there is data: a key that nothing there has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain, islice
from typing import Any

from flowtoy_dagster.flow.files.suggestions import nearest

_SHOWN_KEYS = 6
_LOOKED_AT = 10_000
"""Values of a list that are looked at."""


class _Missing(Exception):  # noqa: N818 - what it is
    """A name that is nowhere; its text says among what."""


def missing_key(tree: Mapping[str, Any], data: Any) -> str | None:
    """The first key on an expression's way that nothing there has, in words.

    Args:
        tree: the parsed expression.
        data: what it was applied to.

    Returns:
        None where no key is missing everywhere, or where the way is not followed (functions).
    """
    try:
        _follow(tree, [data])
    except _Missing as found:
        return str(found)
    return None


def listed(keys: list[str]) -> str:
    """The first of the keys."""
    shown = ", ".join(f"'{key}'" for key in keys[:_SHOWN_KEYS])
    return f"{shown}{', …' * (len(keys) > _SHOWN_KEYS)}"


def _follow(node: Mapping[str, Any], values: list[Any]) -> list[Any]:
    """The values that a part of an expression may find in values; none where it is not known."""
    step = _STEPS.get(node["type"])
    return step(node, values) if step is not None else []


def _field(node: Mapping[str, Any], values: list[Any]) -> list[Any]:
    name = node["value"]
    mappings = [value for value in values if isinstance(value, dict) and value]
    found = [value[name] for value in mappings if name in value]
    if mappings and not found:
        keys = list(mappings[0])
        question = nearest(name, keys).question
        advice = f"; {question}" if question else ""
        raise _Missing(f"there is no '{name}' among {listed(keys)}{advice}")
    if values and all(isinstance(value, list) and value for value in values):
        raise _Missing(f"a list has no '{name}': write '[].{name}' for that of each of its items")
    if values and all(isinstance(value, (str, int, float)) for value in values):
        kind = "a text" if isinstance(values[0], str) else "a number, true or false"
        raise _Missing(f"{kind} has no '{name}'")
    return found


def _one_after_other(node: Mapping[str, Any], values: list[Any]) -> list[Any]:
    for child in node["children"]:
        values = _follow(child, values)
    return values


def _index(node: Mapping[str, Any], values: list[Any]) -> list[Any]:
    return [
        value[node["value"]] for value in values
        if isinstance(value, list) and -len(value) <= node["value"] < len(value)
    ]


def _of_items(node: Mapping[str, Any], values: list[Any]) -> list[Any]:
    """A projection: of a list its items, with a condition or without one."""
    left, right = node["children"][:2]
    return _follow(right, _items(_follow(left, values)))


def _items(values: list[Any]) -> list[Any]:
    lists = (value for value in values if isinstance(value, list))
    return list(islice(chain.from_iterable(lists), _LOOKED_AT))


def _flattened(node: Mapping[str, Any], values: list[Any]) -> list[Any]:
    """What a projection over `[]` goes through: the items, and those of lists among them."""
    items = _items(_follow(node["children"][0], values))
    return [[one for item in items for one in (item if isinstance(item, list) else [item])]]


def _slice(node: Mapping[str, Any], values: list[Any]) -> list[Any]:
    return [value[slice(*node["children"])] for value in values if isinstance(value, list)]


_STEPS: Mapping[str, Callable[[Mapping[str, Any], list[Any]], list[Any]]] = {
    "identity": lambda node, values: values,
    "current": lambda node, values: values,
    "field": _field,
    "subexpression": _one_after_other,
    "index_expression": _one_after_other,
    "pipe": _one_after_other,
    "index": _index,
    "slice": _slice,
    "projection": _of_items,
    "filter_projection": _of_items,
    "flatten": _flattened,
}
