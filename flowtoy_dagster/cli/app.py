"""The commands, and what all of them share."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from flowtoy_dagster import __version__
from flowtoy_dagster.cli.parser.installed_commands import CommandGroup, Commands
from flowtoy_dagster.cli.shared.options import examples

RUN, LOOK, CHECK, HISTORY, OPERATE = "Run", "Look", "Check", "History", "Operate"


@dataclass(frozen=True)
class Command:
    """A command, which is imported when it is called or when help lists it.

    Attributes:
        place: its module in `flowtoy_dagster.cli`, and its function or group of commands there.
        group: under what help lists it.
        shown: calls that its help shows; those of a group stand with its commands.
        members: more commands of the group, from other modules.
    """

    place: str
    group: str
    shown: tuple[str, ...] = ()
    members: Mapping[str, Command] = field(default_factory=dict)

    def load(self) -> Any:
        """The function, or the group."""
        module, _, name = self.place.partition(":")
        return getattr(importlib.import_module(f"flowtoy_dagster.cli.{module}"), name)


COMMANDS = {
    "init": Command("authoring.init:init", RUN, ("init", "init shop")),
    "run": Command("run:run", RUN, (
        "run flow.yaml", "run base.yaml local.yaml -j | jq .fetch_users",
        "run flow.yaml --param day=2026-11-01 --max-workers 10",
        "run flow.yaml --only load --with last",
    )),
    "retry": Command("retry:retry", RUN, (
        "retry last", "retry last --from fetch_users", "retry last changed.yaml",
    )),
    "cancel": Command("retry:cancel", RUN, ("cancel last", "cancel last:shop")),
    "serve": Command("serve:serve", RUN, (
        "serve flow.yaml --port 8000", "serve flow.yaml --address-file address",
    )),
    "webui": Command("webui:webui", LOOK, (
        "webui flow.yaml --open", "webui last:shop", "webui --status-url http://127.0.0.1:8000",
    )),
    "tui": Command("tui:tui", LOOK, (
        "tui flow.yaml", "tui --status-url http://127.0.0.1:8000",
    )),
    "graph": Command("authoring.graph:graph", LOOK, (
        "graph flow.yaml", "graph --run last", "graph flow.yaml --format mermaid",
        "graph flow.yaml --format svg > flow.svg",
    )),
    "validate": Command("validate:validate", CHECK, (
        "validate flow.yaml", "validate flows/ --watch", "validate flows/ --format github",
    )),
    "plan": Command("authoring.plan:plan", CHECK, (
        "plan flow.yaml --param day=2026-11-01", "plan --retry last",
        "plan base.yaml local.yaml --origin runner.max_workers", "plan flow.yaml --format json",
    )),
    "test": Command("testing.run_tests:run_tests", CHECK, (
        "test flows/shop.test.yaml -k unpaid", "test flows/ --junit results.xml",
        "test shop.test.yaml --update", "test --record 'a quiet day' shop.yaml",
    )),
    "step": Command("testing.step:step", CHECK, (
        "step fetch flow.yaml", "step fetch flow.yaml --dry", "step fetch flow.yaml --suggest",
        "step details flow.yaml --with last --item 17",
    )),
    "providers": Command("authoring.providers:providers", CHECK, (
        "providers", "providers rest", "providers --json",
    )),
    "schema": Command("authoring.schema:schema", CHECK, (
        "schema > .flowtoy/schema.json", "schema --partial",
    )),
    "eval": Command("testing.step:evaluate", HISTORY, (
        'eval "{{ flows.fetch.rows | length }}"', 'eval "fetch.rows[0]" --run last:shop',
    )),
    "runs": Command("runs:runs", HISTORY, members={
        "schedules": Command("authoring.schedules:schedules", HISTORY, (
            "runs schedules", "runs schedules flows/ --count 5",
        )),
    }),
    "pools": Command("pools:pools", HISTORY),
    "state": Command("state:state", HISTORY),
    "worker": Command("worker:worker", OPERATE, (
        "worker -c 4", "worker --queue large --env-file secrets.env",
    )),
    "deploy": Command("operations.deploy:deploy", OPERATE),
    "doctor": Command("operations.doctor:doctor", OPERATE, (
        "doctor", "doctor --env-file storage.env --format json",
    )),
}


def make_app(only: str | None = None) -> typer.Typer:
    """The command line.

    Args:
        only: the command that is called, if that is known: making the others takes as long as
            checking a small flow.
    """
    app = typer.Typer(
        name="flowtoy",
        cls=Commands,
        help="YAML flows for data integration, run on Dagster.",
        epilog=examples("run flow.yaml", "validate flows/", "runs show last"),
        no_args_is_help=True,
        # The names of all commands, for those that are misspelt: `only` makes one of them.
        context_settings={"help_option_names": ["-h", "--help"], "obj": tuple(COMMANDS)},
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )
    app.callback()(_options)
    for name, command in COMMANDS.items():
        if only is None or name == only:
            _add(app, name, command)
    return app


def app_for(arguments: list[str]) -> typer.Typer:
    """The command line for these arguments: with one command where the first of them names it."""
    first = arguments[0] if arguments else ""
    return make_app(first if first in COMMANDS else None)


def _add(app: typer.Typer, name: str, command: Command) -> None:
    loaded = command.load()
    if not isinstance(loaded, typer.Typer):
        epilog = examples(*command.shown)
        app.command(name, rich_help_panel=command.group, epilog=epilog)(loaded)
        return
    known = {member.name for member in loaded.registered_commands}
    for other, member in command.members.items():
        if other not in known:
            loaded.command(other, epilog=examples(*member.shown))(member.load())
    app.add_typer(loaded, name=name, cls=CommandGroup, rich_help_panel=command.group)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"flowtoy-dagster {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_print_version,
                     is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show Python's traceback of an error.")
    ] = False,
) -> None:
    pass
