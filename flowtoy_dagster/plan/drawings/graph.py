"""What all drawings show: steps, and which waits for which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.plan.levels import in_order, levels_of


@dataclass(frozen=True)
class Edge:
    """A step that another waits for.

    Attributes:
        before: the step that comes first.
        after: the step that waits.
        is_needed: whether `after` is skipped where `before` was; else the edge is dashed.
    """

    before: str
    after: str
    is_needed: bool


@dataclass(frozen=True)
class Graph:
    """The steps of a flow in the order of their levels.

    Attributes:
        types: the provider's type by step.
        levels: the level by step.
        states: by step, of the run that is shown.
    """

    name: str
    types: Mapping[str, str]
    levels: Mapping[str, int]
    edges: tuple[Edge, ...]
    states: Mapping[str, str] = field(default_factory=dict)


def graph_of(flow: Flow, states: Mapping[str, str] | None = None) -> Graph:
    """The graph of a flow.

    Args:
        flow: any.
        states: by step, of the run that is shown; none by default.
    """
    ordered = in_order(flow)
    levels = levels_of(flow)
    edges = tuple(
        Edge(dependency.step, step.name, bool(dependency.needs))
        for step in ordered
        for dependency in step.dependencies
    )
    types = {step.name: step.source.type for step in ordered}
    return Graph(flow.name, types, {step.name: levels[step.name] for step in ordered}, edges,
                 states or {})


def as_json(graph: Graph) -> dict[str, Any]:
    """A graph as plain data."""
    return {
        "flow": graph.name,
        "steps": [
            {"name": name, "type": type_name, "level": graph.levels[name],
             "state": graph.states.get(name)}
            for name, type_name in graph.types.items()
        ],
        "edges": [
            {"from": edge.before, "to": edge.after, "needed": edge.is_needed}
            for edge in graph.edges
        ],
    }
