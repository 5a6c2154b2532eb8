"""What is wrong with how a command was called, in our words instead of the parser's."""

from __future__ import annotations

import re
from typing import Any

import typer

PARSER_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What the parser of the command line raises: the base of all its errors."""

_EXAMPLES = {
    "config": "Name a YAML file, such as `{command} flow.yaml`",
    "paths": "Name a YAML file or a folder, such as `{command} flow.yaml`",
    "name": "Name a step and a YAML file, such as `{command} fetch flow.yaml`",
}
_EXAMPLES_OF = {"flowtoy pools set": "Name a pool and its limit, such as `{command} shop 4`"}
_LOG = "for more of the log, write --log-level {level}"
_PARAM = "values of parameters are given by --param NAME=VALUE"
_WORKERS = "how many steps may run at once is given by --max-workers N"
_PLAN = "`flowtoy plan` shows what a run would do, and calls nothing"
_OPTIONS = {
    "-v": _LOG.format(level="info"), "--verbose": _LOG.format(level="info"),
    "-vv": _LOG.format(level="debug"), "-d": _LOG.format(level="debug"),
    "--dry-run": _PLAN, "--dryrun": _PLAN, "-n": _PLAN, "--noop": _PLAN, "--simulate": _PLAN,
    "--check": "`flowtoy validate` checks a flow without running it",
    "--validate": "`flowtoy validate` checks a flow without running it",
    "-p": _PARAM, "--set": _PARAM, "--var": _PARAM, "--vars": _PARAM, "--params": _PARAM,
    "--arg": _PARAM,
    "-w": _WORKERS, "--workers": _WORKERS, "--parallel": _WORKERS, "--concurrency": _WORKERS,
    "--env": "variables are read from a file by --env-file PATH",
    "-f": "the YAML file is written without an option",
    "--file": "the YAML file is written without an option",
    "--config": "the YAML file is written without an option",
    "--format": "JSON is printed by --json", "--output": "the outputs are written to a file by -o",
}
"""What people write instead of an option; a hint that names an option is for commands with it."""
_NAMED = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
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
        hint = _instead_of(option, error.ctx)
        if hint and not error.possibilities:
            error.message = f"No such option: {option}; {hint}"
    elif not error.message and getattr(error, "param", None) is not None:
        error.message = _how_to_name(error.param.name, command)
    elif error.message:
        error.message = _of_value(error) or error.message.removeprefix("Value error, ")


def _instead_of(option: str, context: Any) -> str | None:
    """What to write instead of an option, where the command of `context` can do it."""
    if context is None:
        return None
    command = context.command
    if option == "-v" and context.parent is None:
        return "`flowtoy --version` prints the version"
    hint = _OPTIONS.get(option)
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    if hint is None or not known.issuperset(_NAMED.findall(hint)):
        return None
    takes_files = any(param.name in ("config", "path") for param in command.params)
    return hint if takes_files or _NAMED.search(hint) else None


def _how_to_name(argument: str, command: str) -> str:
    if argument == "run":
        return f"`{command} last` takes the latest run"
    example = _EXAMPLES_OF.get(command) or _EXAMPLES.get(argument)
    return (example or "`{command} --help` has examples").format(command=command)


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
