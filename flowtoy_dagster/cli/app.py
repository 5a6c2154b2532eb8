"""The commands, and what all of them share."""

from __future__ import annotations

from typing import Annotated

import typer

from flowtoy_dagster import __version__
from flowtoy_dagster.cli.authoring.plan import plan
from flowtoy_dagster.cli.retry import cancel, retry
from flowtoy_dagster.cli.run import run
from flowtoy_dagster.cli.runs import runs
from flowtoy_dagster.cli.serve import serve
from flowtoy_dagster.cli.shared.installed_commands import Commands
from flowtoy_dagster.cli.state import state
from flowtoy_dagster.cli.tui import tui
from flowtoy_dagster.cli.validate import validate
from flowtoy_dagster.cli.webui import webui

app = typer.Typer(
    name="flowtoy",
    cls=Commands,
    help="YAML flows for data integration, run on Dagster.",
    epilog="Example: flowtoy run flow.yaml --max-workers 10",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"flowtoy-dagster {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_print_version,
                     is_eager=True),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    pass


app.command(epilog="Example: flowtoy run base.yaml local.yaml -j | jq .fetch_users")(run)
app.command(epilog="Example: flowtoy validate flows/ --format github")(validate)
app.command(epilog="Example: flowtoy plan flow.yaml --param day=2026-11-01")(plan)
app.command(epilog="Example: flowtoy webui flow.yaml --open")(webui)
app.command(epilog="Example: flowtoy serve flow.yaml --port 8000")(serve)
app.command(epilog="Example: flowtoy tui flow.yaml")(tui)
app.add_typer(runs, name="runs")
app.add_typer(state, name="state")
app.command(epilog="Example: flowtoy retry last --from fetch_users")(retry)
app.command(epilog="Example: flowtoy cancel last")(cancel)
