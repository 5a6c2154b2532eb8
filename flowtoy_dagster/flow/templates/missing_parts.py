"""Which reference of a template has no such part, where rendering has failed by that."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2 import nodes

from flowtoy_dagster.flow.templates.jinja import environment
from flowtoy_dagster.flow.templates.names import Names

_KINDS = {str: "text", bool: "true or false", int: "a number", float: "a number"}


def missing_part(source: str, context: Mapping[str, Any], message: str) -> str | None:
    """What to say in place of `a number has no '3'`, where a reference is to blame.

    Args:
        source: a template.
        context: with what it was rendered.
        message: why that failed.

    Returns:
        `flows.a.x is a number, and has no [3]`, or the message after the reference; None where
        no reference is found to be so.
    """
    for node in environment.parse(source).find_all((nodes.Getattr, nodes.Getitem)):
        assert isinstance(node, (nodes.Getattr, nodes.Getitem))
        with contextlib.suppress(Exception):  # whatever looking at the values raises
            found, held = _value(node, context), _value(node.node, context)
            if not isinstance(found, jinja2.Undefined) or found._undefined_message != message:
                continue
            # `Names` say themselves what is missing, with the whole reference.
            if not isinstance(held, (jinja2.Undefined, Names)):
                reference = _written(node.node)
                if isinstance(held, (Mapping, list)):
                    return f"{reference}: {message}"
                if found._undefined_hint:
                    return None
                part = _part(node)
                shown = part if part.startswith("[") else f"'{part}'"
                return f"{reference} is {_kind(held)}, and has no {shown}"
    return None


def _value(node: nodes.Node, context: Mapping[str, Any]) -> Any:
    """What a name, or a part of one, stands for; KeyError or TypeError for anything else."""
    if isinstance(node, nodes.Name):
        return context[node.name]
    if isinstance(node, nodes.Getattr):
        return environment.getattr(_value(node.node, context), node.attr)
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return environment.getitem(_value(node.node, context), node.arg.value)
    raise TypeError("no reference")


def _written(node: nodes.Node) -> str:
    if isinstance(node, nodes.Name):
        return node.name
    assert isinstance(node, (nodes.Getattr, nodes.Getitem))
    part = _part(node)
    return f"{_written(node.node)}{part if part.startswith('[') else f'.{part}'}"


def _part(node: nodes.Getattr | nodes.Getitem) -> str:
    if isinstance(node, nodes.Getattr):
        return node.attr
    assert isinstance(node.arg, nodes.Const)
    value = node.arg.value
    return value if isinstance(value, str) and value.isidentifier() else f"[{value!r}]"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return _KINDS.get(type(value), "no mapping")
