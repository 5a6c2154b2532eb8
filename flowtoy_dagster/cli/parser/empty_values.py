"""Options whose value is empty: a variable of the shell that is not set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowtoy_dagster.errors import UsageError


def refuse_empty(command: Any, arguments: Sequence[str]) -> None:
    """Raise UsageError where an option of a command is given an empty value.

    Args:
        command: one of ours, or a group of them.
        arguments: what is written behind its name.
    """
    names = {
        name
        for param in command.params
        if param.param_type_name == "option" and not param.is_flag
        for name in param.opts
    }
    before = ""
    for argument in arguments:
        if argument == "--":
            return
        option = before if argument == "" else argument.removesuffix("=")
        if option in names and option != argument:
            raise UsageError(
                f"{option}: the value is empty; a variable of the shell may not be set"
            )
        before = argument
