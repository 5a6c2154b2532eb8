"""`flowtoy graph`."""

from __future__ import annotations

import sys
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from flowtoy_dagster.cli.completion.words import complete_flows, complete_runs
from flowtoy_dagster.cli.shared.coloured import print_parts
from flowtoy_dagster.cli.shared.options import Debug, show_warnings
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.terminal import print_json

if TYPE_CHECKING:
    from flowtoy_dagster.plan.drawings.graph import Graph


class Format(str, Enum):
    """How a graph is printed."""

    text = "text"
    mermaid = "mermaid"
    dot = "dot"
    svg = "svg"
    json = "json"


DrawnConfig = Annotated[
    Optional[list[str]],  # noqa: UP045 - Typer reads these at run time
    typer.Argument(metavar="CONFIG", autocompletion=complete_flows,
                   help="YAML files, merged left to right; - is standard input. With --run, the"
                        " default is the flow that ran."),
]
DrawingFormat = Annotated[
    Format,
    typer.Option("--format", help="Print text for a terminal, Mermaid, DOT, SVG (needs"
                                  " Graphviz) or JSON."),
]
ColouringRun = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--run", metavar="RUN", autocompletion=complete_runs,
                 help="Colour the steps by their state in this run."),
]


def graph(
    config: DrawnConfig = None,
    output: DrawingFormat = Format.text,
    run: ColouringRun = None,
    debug: Debug = False,
) -> None:
    """Draw the graph of a flow: which step waits for which.

    Nothing is called. In Mermaid, DOT and SVG an edge is dashed if the step that waits also runs
    without an output of the one before it.
    """
    found = _graph(config, run)
    if output is Format.json:
        from flowtoy_dagster.plan.drawings.graph import as_json

        print_json(as_json(found))
    elif output is Format.mermaid:
        from flowtoy_dagster.plan.drawings.mermaid import mermaid_lines

        print("\n".join(mermaid_lines(found)))
    elif output is Format.dot:
        from flowtoy_dagster.plan.drawings.dot import dot_lines

        print("\n".join(dot_lines(found)))
    elif output is Format.svg:
        from flowtoy_dagster.plan.drawings.dot import svg

        print(svg(found), end="")
    else:
        from flowtoy_dagster.plan.drawings.terminal import graph_lines

        print_parts(graph_lines(found, unicode=_shows_lines()), fold=False)


def _graph(config: list[str] | None, run: str | None) -> Graph:
    from flowtoy_dagster.loader import load_flow
    from flowtoy_dagster.plan.drawings.graph import graph_of

    if not config and run is None:
        raise UsageError("give the files of a flow, or --run RUN\n    flowtoy graph flow.yaml")
    flow = load_flow(config) if config else None
    if flow is not None:
        show_warnings(flow)
    if run is None:
        assert flow is not None
        return graph_of(flow)
    from flowtoy_dagster.runs.history import History

    with History() as history:
        found = history.find(run)
        ran = history.flow(found)
        status = history.status(found, ran)
    states = {name: step.state for name, step in status.steps.items()}
    shown = flow or ran
    if not states.keys() & {step.name for step in shown.steps}:
        raise UsageError(
            f"run {found.run_id[:8]} is of the flow '{ran.name}', and has none of these steps\n"
            f"    flowtoy graph --run {found.run_id[:8]} draws the flow that ran"
        )
    return graph_of(shown, {step.name: states.get(step.name, "pending") for step in shown.steps})


def _shows_lines() -> bool:
    """Whether stdout has the characters that lines are made of."""
    try:
        "●│─╰".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
