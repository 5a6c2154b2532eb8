"""The commands, and what all of them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from flowtoy_dagster import __version__
from flowtoy_dagster.cli.authoring.graph import graph
from flowtoy_dagster.cli.authoring.init import init
from flowtoy_dagster.cli.authoring.plan import plan
from flowtoy_dagster.cli.authoring.providers import providers
from flowtoy_dagster.cli.authoring.schedules import schedules
from flowtoy_dagster.cli.authoring.schema import schema
from flowtoy_dagster.cli.operations.deploy import deploy
from flowtoy_dagster.cli.operations.doctor import doctor
from flowtoy_dagster.cli.parser.installed_commands import Commands
from flowtoy_dagster.cli.pools import pools
from flowtoy_dagster.cli.retry import cancel, retry
from flowtoy_dagster.cli.run import run
from flowtoy_dagster.cli.runs import runs
from flowtoy_dagster.cli.serve import serve
from flowtoy_dagster.cli.shared.options import examples
from flowtoy_dagster.cli.state import state
from flowtoy_dagster.cli.testing.run_tests import run_tests
from flowtoy_dagster.cli.testing.step import evaluate, step
from flowtoy_dagster.cli.tui import tui
from flowtoy_dagster.cli.validate import validate
from flowtoy_dagster.cli.webui import webui
from flowtoy_dagster.cli.worker import worker

app = typer.Typer(
    name="flowtoy",
    cls=Commands,
    help="YAML flows for data integration, run on Dagster.",
    epilog=examples("run flow.yaml", "validate flows/", "runs show last"),
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


def _add(command: Callable[..., None], group: str, *shown: str) -> None:
    app.command(rich_help_panel=group, epilog=examples(*shown))(command)


RUN, LOOK, CHECK, HISTORY, OPERATE = "Run", "Look", "Check", "History", "Operate"

_add(init, RUN, "init", "init shop")
_add(run, RUN, "run flow.yaml", "run base.yaml local.yaml -j | jq .fetch_users",
     "run flow.yaml --param day=2026-11-01 --max-workers 10",
     "run flow.yaml --only load --with last")
_add(retry, RUN, "retry last", "retry last --from fetch_users", "retry last changed.yaml")
_add(cancel, RUN, "cancel last", "cancel last:shop")
_add(serve, RUN, "serve flow.yaml --port 8000", "serve flow.yaml --address-file address")
_add(webui, LOOK, "webui flow.yaml --open", "webui last:shop",
     "webui --status-url http://127.0.0.1:8000")
_add(tui, LOOK, "tui flow.yaml", "tui --status-url http://127.0.0.1:8000")
_add(graph, LOOK, "graph flow.yaml", "graph --run last",
     "graph flow.yaml --format mermaid", "graph flow.yaml --format svg > flow.svg")
_add(validate, CHECK, "validate flow.yaml", "validate flows/ --watch",
     "validate flows/ --format github")
_add(plan, CHECK, "plan flow.yaml --param day=2026-11-01", "plan --retry last",
     "plan base.yaml local.yaml --origin runner.max_workers", "plan flow.yaml --format json")
app.command(
    "test", rich_help_panel=CHECK,
    epilog=examples("test", "test flows/shop.test.yaml -k unpaid",
                    "test flows/ --junit results.xml", "test shop.test.yaml --update",
                    "test --record 'a quiet day' shop.yaml"),
)(run_tests)
_add(step, CHECK, "step fetch flow.yaml", "step fetch flow.yaml --dry",
     "step fetch flow.yaml --suggest",
     "step details flow.yaml --with last --item 17")
_add(providers, CHECK, "providers", "providers rest", "providers --json")
_add(schema, CHECK, "schema > .flowtoy/schema.json", "schema --partial")
app.command(
    "eval", rich_help_panel=HISTORY,
    epilog=examples('eval "{{ flows.fetch.rows | length }}"',
                    'eval "fetch.rows[0]" --run last:shop'),
)(evaluate)
runs.command("schedules", epilog=examples("runs schedules", "runs schedules flows/ --count 5"))(
    schedules
)
app.add_typer(runs, name="runs", rich_help_panel=HISTORY)
app.add_typer(pools, name="pools", rich_help_panel=HISTORY)
app.add_typer(state, name="state", rich_help_panel=HISTORY)
_add(worker, OPERATE, "worker -c 4", "worker --queue large --env-file secrets.env")
app.add_typer(deploy, name="deploy", rich_help_panel=OPERATE)
_add(doctor, OPERATE, "doctor", "doctor --env-file storage.env --format json")
