"""Options that several commands take, and what they do before Dagster is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from flowtoy_dagster.errors import ConfigError, Location, Problem, UsageError

if TYPE_CHECKING:
    from flowtoy_dagster.flow.graph import Flow


class LogLevel(str, Enum):
    """How much of the log is shown on stderr."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


MaxWorkers = Annotated[
    Optional[int],  # noqa: UP045 - Typer reads these at run time
    typer.Option("--max-workers", metavar="N", help="How many steps may run at once."),
]
AsJson = Annotated[
    bool, typer.Option("--json", "-j", help="Print the outputs as complete JSON.")
]
OutputFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--output-file", "-o", metavar="PATH", dir_okay=False,
                 help="Also write the outputs as JSON to a file, whole or not at all, or into"
                      " a pipe or device."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing on stdout.")]
EnvFile = Annotated[
    Optional[list[Path]],  # noqa: UP045
    typer.Option("--env-file", metavar="PATH",
                 help="Read variables from a dotenv file; those already set win."),
]
Timeout = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--timeout", metavar="DURATION",
                 help="End the run after this time: 90, 30s, 5m."),
]
Param = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--param", metavar="NAME=VALUE",
                 help="Choose the value of a parameter; JSON for lists and mappings."),
]
ParamsFile = Annotated[
    Optional[list[Path]],  # noqa: UP045
    typer.Option("--params-file", metavar="PATH",
                 help="Read values of parameters from YAML or JSON; --param wins."),
]
Host = Annotated[str, typer.Option("--host", help="The address to serve on.")]
Port = Annotated[
    int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes one that is free.")
]
Token = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option("--token/--no-token",
                 help="Whether visitors need a token, which is in the address that is printed;"
                      " they do by default."),
]
AddressFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--address-file", metavar="PATH", dir_okay=False,
                 help="Also write the server's address, with its token, to a file that only you"
                      " can read."),
]
AllowHost = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--allow-host", metavar="NAME",
                 help="Another name by which browsers may reach the server."),
]
ShowSecrets = Annotated[
    bool, typer.Option("--show-secrets", help="Print secret outputs unmasked.")
]
Level = Annotated[
    LogLevel, typer.Option("--log-level", help="How much of the log to show on stderr.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
RunArgument = Annotated[
    str,
    typer.Argument(metavar="RUN",
                   help="An id, a unique beginning of one, `last`, or `last:FLOW`."),
]


def with_params(flow: Flow, param: list[str] | None, params_file: list[Path] | None) -> Flow:
    """The flow with the values that `--param` and `--params-file` give its parameters.

    Raises:
        ConfigError: with every value that is missing, unknown or of another type.
    """
    from flowtoy_dagster.flow.param_values import bind

    return bind(flow, texts=param or (), files=params_file or ())


def show_warnings(flow: Flow) -> None:
    """Print what may not be as it is meant in a flow."""
    from flowtoy_dagster.terminal import say

    for warning in flow.warnings:
        say("\n".join(warning.warning_lines()))


def load_env_files(paths: Sequence[Path]) -> None:
    """Set the variables of dotenv files; those already set win (language 1.7).

    Raises:
        UsageError: a file can't be read.
        ConfigError: a line is not `NAME=value`.
    """
    if not paths:
        return
    from dotenv.parser import parse_stream

    from flowtoy_dagster.cli.shared.env_files import line_of, mistake_of, values_of

    for path in paths:
        try:
            with open(path, encoding="utf-8-sig") as file:
                bindings = list(parse_stream(file))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise UsageError(f"can't read the env file '{path}': {str(reason).lower()}") from None
        problems = [
            Problem(wrong, Location(str(path), line_of(binding), 1))
            for binding in bindings
            if (wrong := mistake_of(binding))
        ]
        if problems:
            raise ConfigError(problems)
        values, unset = values_of(bindings, os.environ)
        for line, name in unset:
            print(f"{path}:{line}: ${{{name}}} gives nothing: the variable is not set (in single "
                  "quotes it stays as it is)", file=sys.stderr)
        for name, value in values.items():
            os.environ.setdefault(name, value)
