"""Flags in the help of commands: they take no value, so none is shown."""

from __future__ import annotations

from typing import Any


def without_types(command: Any, ctx: Any) -> Any:
    """A command, or a group with its commands, whose flags show no `<bool>`."""
    for param in [*command.params, command.get_help_option(ctx)]:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    for one in getattr(command, "commands", {}).values():
        without_types(one, ctx)
    return command
