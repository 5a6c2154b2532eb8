"""Commands that installed packages bring, under the entry point group `flowtoy.commands`."""

from __future__ import annotations

import sys
from typing import Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from flowtoy_dagster.cli.completion.typed import TYPED, read_typed
from flowtoy_dagster.cli.parser.arguments import check_arguments
from flowtoy_dagster.cli.parser.commands import COMMANDS as OWN
from flowtoy_dagster.cli.parser.flags import hide_types
from flowtoy_dagster.cli.parser.usage import PARSER_ERROR, explain
from flowtoy_dagster.engine.executors.warm.loading.plugins import (
    without_plugins,
    without_search,
)
from flowtoy_dagster.entry_points import Kinds, KindUnusable, package_of
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.terminal import say

_PANEL = "Commands of other packages"
_COMPLETION = ("install_completion", "show_completion")


def _command_of(name: str, loaded: Any) -> Any:
    """The command in what an entry point holds: a Typer app, or a function."""
    app = loaded
    if not isinstance(loaded, typer.Typer):
        if not callable(loaded):
            raise KindUnusable("is neither a Typer app nor a function")
        app = typer.Typer()
        app.command()(loaded)
    command = typer.main.get_command(app)
    command.name = name
    # Completion is flowtoy's own matter.
    command.params = [param for param in command.params if param.name not in _COMPLETION]
    return command


COMMANDS: Kinds[Any] = Kinds("flowtoy.commands", "command", {}, _command_of)

class CommandGroup(TyperGroup):
    """A group of flowtoy's commands."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, and its arguments.

        Raises:
            UsageError: there is no such command; or its arguments can't be meant.
        """
        name = args[0]
        if name in self.commands:
            _check(ctx, self.commands[name], args[1:])
        if name in self.commands or name.startswith("-"):
            return super().resolve_command(ctx, args)
        raise _unknown(ctx, args, list(self.commands))


class Commands(TyperGroup):
    """flowtoy's commands and those of packages, which are imported when they are called.

    Help lists them without importing them. No package can take the place of a command of flowtoy's.
    """

    def make(self, name: str) -> Any:
        """One of flowtoy's own commands."""
        raise NotImplementedError

    def main(self, *args: Any, **extra: Any) -> Any:
        """Call flowtoy, or complete a command line."""
        token = TYPED.set(read_typed())
        try:
            return super().main(*args, **extra)
        finally:
            TYPED.reset(token)
            if "--install-completion" in sys.argv:
                from flowtoy_dagster.cli.completion.zsh import complete_first_tab

                complete_first_tab()

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands."""
        return [*OWN, *sorted(set(COMMANDS.installed) - set(OWN))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name; where it is not imported, what help shows of it."""
        made = super().get_command(ctx, cmd_name)
        own = OWN.get(cmd_name)
        if made is None and own is not None:
            return TyperCommand(name=cmd_name, help=own.summary, rich_help_panel=own.group)
        if made is not None or cmd_name not in COMMANDS.installed:
            return made
        packages = sorted({package_of(point) for point in COMMANDS.installed[cmd_name]})
        text = f"From {' and '.join(packages)}; `flowtoy {cmd_name} --help` says more."
        return TyperCommand(name=cmd_name, help=text, rich_help_panel=_PANEL)

    def get_params(self, ctx: Any) -> Any:
        """The options of all commands."""
        hide_types(self, ctx)
        return super().get_params(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the options of all commands; errors of them are reported in our words."""
        try:
            # Help lists the commands of all packages.
            with without_search() if args[:1] and args[0] in OWN else without_plugins():
                return super().parse_args(ctx, args)
        except PARSER_ERROR as error:
            explain(error)
            raise

    def invoke(self, ctx: Any) -> Any:
        """Call the command; errors of its arguments are reported in our words."""
        try:
            return super().invoke(ctx)
        except PARSER_ERROR as error:
            explain(error)
            raise
        except KeyboardInterrupt:
            say("interrupted")  # the parser makes an exit code of it, and says nothing
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, and its arguments.

        Raises:
            UsageError: it is a package's, and can't be used; its name is misspelt; or its
                arguments can't be meant.
        """
        name = args[0]
        if name in OWN:
            command = self.commands.get(name)
            if command is None:
                command = self.make(name)
                hide_types(command, ctx)
            _check(ctx, command, args[1:])
            return name, command, args[1:]
        if name in COMMANDS.installed:
            reason = COMMANDS.why_unusable(name)
            if reason is not None:
                raise UsageError(reason)
            return name, COMMANDS[name], args[1:]
        if name.startswith("-"):
            return super().resolve_command(ctx, args)
        raise _unknown(ctx, args, self.list_commands(ctx))


def _check(ctx: Any, command: Any, arguments: list[str]) -> None:
    if not ctx.resilient_parsing:  # a shell asks how to complete them
        check_arguments(command, arguments)


def _unknown(ctx: Any, args: list[str], own: list[str]) -> UsageError:
    from flowtoy_dagster.cli.parser.meanings import no_such_command

    group = " ".join(["flowtoy", *ctx.command_path.split()[1:]])
    return no_such_command(args[0], group, own, OWN, args[1:])
