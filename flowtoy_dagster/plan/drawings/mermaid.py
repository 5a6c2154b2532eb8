"""A graph as a Mermaid flowchart."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flowtoy_dagster.plan.drawings.graph import Graph
from flowtoy_dagster.terminal import plain

_SPECIAL = re.compile(r"[^\w .,/\-]", re.ASCII)
_FILLS = {
    "succeeded": "#d1f0d6,stroke:#2da44e", "failed": "#ffd7d5,stroke:#cf222e",
    "cancelled": "#ffd7d5,stroke:#cf222e", "skipped": "#fff2c2,stroke:#bf8700",
    "running": "#d0e8ff,stroke:#0969da", "pending": "#f0f0f0,stroke:#8c959f",
}


def mermaid_lines(graph: Graph) -> Iterator[str]:
    """The lines of a flowchart; edges whose output is not needed are dashed."""
    ids = {name: f"s{index}" for index, name in enumerate(graph.types)}
    yield "flowchart TD"
    for name, type_name in graph.types.items():
        state = graph.states.get(name)
        shown = f":::{state}" if state in _FILLS else ""
        yield f'    {ids[name]}["{_escaped(name)}<br/>{_escaped(type_name)}"]{shown}'
    for edge in graph.edges:
        arrow = "-->" if edge.is_needed else "-.->"
        yield f"    {ids[edge.before]} {arrow} {ids[edge.after]}"
    for state in dict.fromkeys(graph.states.values()):
        if state in _FILLS:
            yield f"    classDef {state} fill:{_FILLS[state]},color:#1f2328"


def _escaped(text: str) -> str:
    """A text within a label: whatever could be syntax, Markdown or HTML as a number."""
    # Mermaid breaks a line at a backslash with an n, also where both are written as numbers.
    shown = plain(text).replace("\\n", "\\\u200bn")
    return _SPECIAL.sub(lambda found: f"#{ord(found[0])};", shown)
