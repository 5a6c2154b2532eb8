"""The commands, and what all of them share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

import typer
import typer.main

from flowtoy_dagster import __version__
from flowtoy_dagster.cli.parser.commands import COMMANDS, Command
from flowtoy_dagster.cli.parser.installed_commands import CommandGroup, Commands
from flowtoy_dagster.cli.parser.quick_command import QuickCommand
from flowtoy_dagster.cli.shared.options import examples


class _Commands(Commands):
    """flowtoy's commands, of which those are made that are called."""

    def make(self, name: str) -> Any:
        """One of flowtoy's own commands."""
        group: Any = typer.main.get_command(make_app([name]))
        return group.commands[name]


def make_app(names: Collection[str] = tuple(COMMANDS)) -> typer.Typer:
    """The command line.

    Args:
        names: the commands that are made already. The others are made when they are called: to
            make all of them takes as long as checking a small flow.
    """
    app = typer.Typer(
        name="flowtoy",
        cls=_Commands,
        help="YAML flows for data integration, run on Dagster.",
        epilog=examples("run flow.yaml", "validate flows/", "runs show last"),
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )
    app.callback()(_options)
    for name, command in COMMANDS.items():
        if name in names:
            _add(app, name, command)
    return app


def app_for(arguments: list[str]) -> typer.Typer:
    """The command line for these arguments: with the command that the first of them names."""
    return make_app(arguments[:1])


def _add(app: typer.Typer, name: str, command: Command) -> None:
    loaded = command.load()
    if not isinstance(loaded, typer.Typer):
        epilog = examples(*command.shown)
        app.command(
            name, cls=QuickCommand, rich_help_panel=command.group, epilog=epilog
        )(loaded)
        return
    known = {member.name for member in loaded.registered_commands}
    for other, member in command.members.items():
        if other not in known:
            loaded.command(
                other, cls=QuickCommand, epilog=examples(*member.shown)
            )(member.load())
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
