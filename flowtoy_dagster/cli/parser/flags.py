"""Flags in the help of commands: they take no value, so none is shown."""

from __future__ import annotations

from typing import Any


def hide_types(command: Any, ctx: Any) -> None:
    """Let the flags of a command, or of a group and its commands, show no `<bool>`."""
    for param in [*command.params, command.get_help_option(ctx)]:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    for one in getattr(command, "commands", {}).values():
        hide_types(one, ctx)
