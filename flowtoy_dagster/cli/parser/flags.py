"""What help shows of values: what a user writes, and no types of Python."""

from __future__ import annotations

from typing import Any


def hide_types(command: Any, ctx: Any) -> None:
    """Let a command, or a group and its commands, show no `<bool>` or `<str>`."""
    for param in [*command.params, command.get_help_option(ctx)]:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
        elif param.param_type_name == "argument":
            # The name says what it is; the parser has no hook for the type next to it.
            param.display_type_rich = lambda ctx: None
    for one in getattr(command, "commands", {}).values():
        hide_types(one, ctx)
