"""A graph as DOT, and as the SVG that Graphviz makes of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

from flowtoy_dagster.errors import FlowtoyError, UsageError
from flowtoy_dagster.plan.drawings.graph import Graph
from flowtoy_dagster.terminal import plain

LONGEST = 120.0
"""Seconds that Graphviz may take."""
_FILLS = {
    "succeeded": ("#d1f0d6", "#2da44e"), "failed": ("#ffd7d5", "#cf222e"),
    "cancelled": ("#ffd7d5", "#cf222e"), "skipped": ("#fff2c2", "#bf8700"),
    "running": ("#d0e8ff", "#0969da"), "pending": ("#f0f0f0", "#8c959f"),
}


def dot_lines(graph: Graph) -> Iterator[str]:
    """The lines of a graph in DOT; edges whose output is not needed are dashed."""
    ids = {name: f"s{index}" for index, name in enumerate(graph.types)}
    yield f"digraph {_quoted(graph.name)} {{"
    yield '    node [shape=box, style="rounded,filled", fillcolor="#ffffff", fontname="sans-serif"]'
    for name, type_name in graph.types.items():
        facts = [f'label="{_escaped(name)}\\n{_escaped(type_name)}"']
        state = graph.states.get(name)
        if state in _FILLS:
            fill, stroke = _FILLS[state]
            facts += [f'fillcolor="{fill}"', f'color="{stroke}"', f"tooltip={_quoted(state)}"]
        yield f"    {ids[name]} [{', '.join(facts)}]"
    for edge in graph.edges:
        style = "" if edge.is_needed else " [style=dashed]"
        yield f"    {ids[edge.before]} -> {ids[edge.after]}{style}"
    yield "}"


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    """A text within double quotes: no escapes of DOT, and no entities of HTML."""
    shown = plain(text).replace("\\", "\\\\").replace('"', '\\"')
    return shown.replace("&", "&amp;")


def svg(graph: Graph) -> str:
    """The graph as SVG.

    Raises:
        UsageError: Graphviz is not installed.
        FlowtoyError: it fails, or takes too long.
    """
    program = shutil.which("dot")
    if program is None:
        raise UsageError(
            "--format svg needs Graphviz, whose program 'dot' is not in PATH\n"
            "    install it (apt install graphviz, brew install graphviz), or use --format mermaid"
        )
    text = "\n".join(dot_lines(graph))
    try:
        done = subprocess.run(
            [program, "-Tsvg"], input=text.encode(), capture_output=True, timeout=LONGEST,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or f"it takes longer than {LONGEST:g} s"
        raise FlowtoyError(f"Graphviz can't draw this graph: {reason}") from None
    if done.returncode:
        reason = plain(done.stderr.decode("utf-8", "replace").strip().partition("\n")[0])
        raise FlowtoyError(f"Graphviz can't draw this graph: {reason}")
    return done.stdout.decode("utf-8", "replace")
