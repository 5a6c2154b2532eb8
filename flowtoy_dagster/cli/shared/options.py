"""Options that several commands take, and what they do before Dagster is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, Optional

import typer

from flowtoy_dagster.cli.completion.words import (
    complete_flows,
    complete_params,
    complete_runs,
    complete_steps,
)
from flowtoy_dagster.engine.executors.warm.loading.plugins import without_plugins
from flowtoy_dagster.errors import ConfigError, Location, Problem, UsageError

if TYPE_CHECKING:
    from flowtoy_dagster.flow.graph import Flow


URL_VARIABLE = "RUNNER_STATUS_URL"
"""The status API of a run to watch; arguments can be seen by all users of a machine."""


class LogLevel(str, Enum):
    """How much of the log is shown on stderr."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


def folder_of(text: str) -> Path:
    """The folder of an argument; an empty one, as of a shell's variable that is not set, is none.

    Raises:
        BadParameter: it is empty.
    """
    if not text:
        raise typer.BadParameter("the name of the folder is empty; . is the current one")
    return Path(text)


Config = Annotated[
    list[str],
    typer.Argument(help="YAML files, merged left to right; - is standard input.",
                   metavar="CONFIG", autocompletion=complete_flows),
]
MaxWorkers = Annotated[
    Optional[int],  # noqa: UP045 - Typer reads these at run time
    typer.Option("--max-workers", metavar="N",
                 help="How many steps may run at once. The default is what the flow says."),
]
AsJson = Annotated[
    bool, typer.Option("--json", "-j", help="Print the outputs as complete JSON.")
]
Json = Annotated[bool, typer.Option("--json", "-j", help="Print JSON.")]
OutputFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--output-file", "-o", metavar="PATH", dir_okay=False,
                 help="Also write the outputs as JSON to this file, pipe or device. A file is"
                      " written whole or not at all. - stands for stdout, as --json does."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing on stdout.")]
EnvFile = Annotated[
    Optional[list[Path]],  # noqa: UP045
    typer.Option("--env-file", metavar="PATH",
                 help="Read variables from a dotenv file. A variable that is already set keeps its"
                      " value."),
]
Executor = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--executor", metavar="NAME",
                 help="The executor that runs the steps, instead of `runner.executor`."),
]
Timeout = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--timeout", metavar="DURATION",
                 help="End the run after this time: 90 (seconds), 30s, 5m."),
]
Param = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--param", metavar="NAME=VALUE", autocompletion=complete_params,
                 help="Set a parameter. Lists and mappings are written as JSON."),
]
ParamsFile = Annotated[
    Optional[list[Path]],  # noqa: UP045
    typer.Option("--params-file", metavar="PATH",
                 help="Read parameters from a YAML or JSON file. --param overrides it."),
]
Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to serve on.")]
Port = Annotated[
    int, typer.Option("--port", metavar="PORT", min=0, max=65535,
                      help="The port; 0 takes a free one.")
]
Token = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option("--token/--no-token",
                 help="With --token, the default, an access token is required. The printed address"
                      " has it."),
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
                 help="Another host name by which browsers may reach the server."),
]
OptionalConfig = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(help="YAML files, merged left to right.", metavar="CONFIG",
                   autocompletion=complete_flows),
]
StatusPort = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--status-port", metavar="PORT", min=0, max=65535,
                 help="Also serve the run's status on this port, until Ctrl-C after the end of the"
                      " run. 0 takes a free port."),
]
StatusUrl = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--status-url", metavar="URL",
                 help="Show the run behind this status API instead of running a flow."
                      f" The default is {URL_VARIABLE}, if no flow is named."),
]
ShowSecrets = Annotated[
    bool, typer.Option("--show-secrets", help="Print secret values unmasked.")
]
Record = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--record", metavar="DIR", file_okay=False,
                 help="Also write each call and its answer into a new folder, secrets masked."),
]
Replay = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--replay", metavar="DIR", file_okay=False,
                 help="Answer the calls from a recorded folder, and call nothing. A call that was"
                      " not recorded, or that differs, fails."),
]
Only = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--only", metavar="STEP", autocompletion=complete_steps,
                 help="Run this step and no others; may be repeated. Needs --with."),
]
WithRun = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--with", metavar="RUN", autocompletion=complete_runs,
                 help="The run whose outputs and parameters these steps use: an id or its"
                      " beginning, `last`, `failed`, or `last:FLOW`. --param changes a parameter."),
]
Level = Annotated[
    LogLevel, typer.Option("--log-level", help="How much of the log to show on stderr.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show Python's traceback of an error.")]
RunArgument = Annotated[
    str,
    typer.Argument(metavar="RUN", autocompletion=complete_runs,
                   help="The run: an id or its beginning, `last`, `failed`, or `last:FLOW`."),
]


class RunOptions(NamedTuple):
    """How a command carries out a run.

    Attributes:
        max_workers: how many steps may run at once; by default as the flow says.
        show_secrets: whether outputs are printed as they are.
        record: a new folder for the calls and their answers.
        replay: such a folder, from which calls are answered.
    """

    max_workers: int | None = None
    show_secrets: bool = False
    record: Path | None = None
    replay: Path | None = None


def examples(*commands: str) -> str:
    """The end of a command's help: how it is called.

    Args:
        commands: without `flowtoy`.
    """
    head = "Example:" if len(commands) == 1 else "Examples:"
    return "\n\n".join([head, *(f"- `flowtoy {command}`" for command in commands)])


def flow_of(
    config: Sequence[str],
    param: Sequence[str] | None = None,
    params_file: Sequence[Path] | None = None,
    timeout: str | None = None,
    executor: str | None = None,
) -> Flow:
    """The flow of the files, with what the options of a command give it; its warnings are printed.

    Args:
        config: YAML files.
        param: values of parameters, as `--param` has them.
        params_file: files with values of parameters.
        timeout: the run's, as text; by default the flow's own.
        executor: what runs the steps; by default the flow's own.

    Raises:
        ConfigError: with every error of the files and of the values.
        UsageError: a file can't be read, the timeout is no duration, or the executor can't be used.
    """
    from flowtoy_dagster.flow.param_values import bind

    flow = settled(config, timeout, executor)
    flow = bind(flow, texts=param or (), files=params_file or ())
    show_warnings(flow)
    return flow


def warn_of_unset(flow: Flow) -> None:
    """Print which variables the steps need that are not set, where the steps run here."""
    from flowtoy_dagster.engine.executors.kinds import executor_of
    from flowtoy_dagster.flow.places import unset_variables
    from flowtoy_dagster.terminal import say

    if executor_of(flow.runner).is_local:
        for warning in unset_variables(flow, os.environ):
            say("\n".join(warning.warning_lines()))


def settled(config: Sequence[str], timeout: str | None, executor: str | None) -> Flow:
    """The flow of the files with a timeout and an executor, without values of parameters.

    Raises:
        ConfigError: with every error of the files.
        UsageError: see `flow_of`.
    """
    from flowtoy_dagster.loader import load_flow, with_executor, with_timeout

    with without_plugins():
        flow = load_flow(config)
    return with_executor(with_timeout(flow, timeout), executor)


def begin(env_file: Sequence[Path] | None, log_level: LogLevel) -> None:
    """Set the variables and the log level that a command was given.

    Raises:
        UsageError: an env file can't be read.
        ConfigError: a line of one is not `NAME=value`.
    """
    from flowtoy_dagster.engine.storage.logs.console_log import set_log_level

    load_env_files(env_file or ())
    set_log_level(log_level.value)


def run_to_show(config: Sequence[str] | None, status_url: str | None) -> str:
    """The address of the run elsewhere that a page shows; empty where it runs a flow.

    Raises:
        UsageError: both were given, or neither.
    """
    if config and status_url:
        raise UsageError("give either the files of a flow or --status-url")
    url = status_url or ("" if config else os.environ.get(URL_VARIABLE, ""))
    if not config and not url:
        raise UsageError(
            f"give either the files of a flow or --status-url (or {URL_VARIABLE}, which others"
            " on this machine can't see)\n    name a YAML file to run it, such as flow.yaml"
        )
    return url


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
        values, warnings = values_of(bindings, os.environ)
        for line, warning in warnings:
            print(f"{path}:{line}: {warning}", file=sys.stderr)
        for name, value in values.items():
            os.environ.setdefault(name, value)
