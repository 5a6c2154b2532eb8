"""What is wrong with how a command was called, in our words instead of the parser's."""

from __future__ import annotations

from typing import Any

import typer

PARSER_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What the parser of the command line raises: the base of all its errors."""

_EXAMPLES = {"config": "Name a YAML file, such as `{command} flow.yaml`"}
_OPTIONS = {
    "-v": "for more of the log, write --log-level info",
    "--verbose": "for more of the log, write --log-level info",
    "-d": "for more of the log, write --log-level debug",
    "--dry-run": "`flowtoy plan` shows what a run would do, and calls nothing",
    "--check": "`flowtoy validate` checks a flow without running it",
    "-p": "values of parameters are given by --param NAME=VALUE",
    "--set": "values of parameters are given by --param NAME=VALUE",
    "--var": "values of parameters are given by --param NAME=VALUE",
    "--workers": "how many steps may run at once is given by --max-workers N",
    "--parallel": "how many steps may run at once is given by --max-workers N",
    "--concurrency": "how many steps may run at once is given by --max-workers N",
    "--env": "variables are read from a file by --env-file PATH",
}
_NUMBERS = {
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_parsing": "expected a number",
    "less_than_equal": "expected at most {le}",
    "greater_than_equal": "expected at least {ge}",
}


def explain(error: Any) -> None:
    """Change the message of an error of the parser's.

    Args:
        error: a `PARSER_ERROR`.
    """
    command = error.ctx.command_path if error.ctx is not None else "flowtoy"
    option = getattr(error, "option_name", None)
    if option is not None:
        hint = _OPTIONS.get(option)
        if hint and not error.possibilities:
            error.message = f"No such option: {option}; {hint}"
    elif not error.message and getattr(error, "param", None) is not None:
        error.message = _how_to_name(error.param.name, command)
    elif error.message:
        error.message = _of_value(error) or error.message.removeprefix("Value error, ")


def _how_to_name(argument: str, command: str) -> str:
    if argument == "run":
        return f"`{command} last` takes the latest run"
    return _EXAMPLES.get(argument, f"`{command} --help` has examples").format(command=command)


def _of_value(error: Any) -> str | None:
    """What a number must be; None where the error is about something else.

    The errors of the parser come from pydantic, whose errors have a type and the value.
    """
    cause = error.__cause__
    if not hasattr(cause, "errors"):
        return None
    first = cause.errors()[0]
    wanted = _NUMBERS.get(first["type"])
    if wanted is None:
        return None
    return f"{wanted.format(**first.get('ctx', {}))}, got '{first['input']}'"
