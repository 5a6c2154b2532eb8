"""`flowtoy run`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from flowtoy_dagster.cli.shared import import_quickly
from flowtoy_dagster.cli.shared.options import (
    AddressFile,
    AsJson,
    Debug,
    EnvFile,
    Level,
    LogLevel,
    MaxWorkers,
    OutputFile,
    Param,
    ParamsFile,
    Quiet,
    ShowSecrets,
    Timeout,
    Token,
    load_env_files,
    show_warnings,
    with_params,
)


def run(
    config: Annotated[
        list[str],
        typer.Argument(help="YAML files, merged left to right; - is standard input.",
                       metavar="CONFIG..."),
    ],
    max_workers: MaxWorkers = None,
    as_json: AsJson = False,
    output_file: OutputFile = None,
    quiet: Quiet = False,
    env_file: EnvFile = None,
    param: Param = None,
    params_file: ParamsFile = None,
    show_secrets: ShowSecrets = False,
    log_level: Level = LogLevel.warning,
    timeout: Timeout = None,
    status_port: Annotated[
        Optional[int],  # noqa: UP045 - Typer reads this at run time
        typer.Option("--status-port", metavar="PORT", min=0, max=65535,
                     help="Serve the run's status on this port, and stay until Ctrl-C; 0 is any"
                          " that is free."),
    ] = None,
    token: Token = None,
    address_file: AddressFile = None,
    debug: Debug = False,
) -> None:
    """Run a flow and print its outputs.

    Steps that don't depend on each other run at the same time. Progress goes to stderr, the
    outputs go to stdout. The exit code is 0 when the run succeeded, 1 when it failed, 2 when the
    configuration or the command line is wrong and 130 when it was interrupted; Ctrl-C after the run
    has ended, where `--status-port` makes the command stay, is no interruption.
    """
    import_quickly("flowtoy_dagster.loader")

    from flowtoy_dagster.cli.shared.execute import carry_out, prepare_process
    from flowtoy_dagster.cli.shared.printing import OutputWriter, claim_stdout
    from flowtoy_dagster.cli.shared.serving import LOCAL, Door, served, tell
    from flowtoy_dagster.engine.storage.console_log import set_log_level
    from flowtoy_dagster.loader import load_flow, with_timeout
    from flowtoy_dagster.progress import progress_on_stderr

    load_env_files(env_file or [])
    set_log_level(log_level.value)
    stdout = claim_stdout()
    writer = OutputWriter(stdout, as_json=as_json, quiet=quiet, file=output_file)
    flow = with_params(with_timeout(load_flow(config), timeout), param, params_file)
    show_warnings(flow)
    door = None
    if status_port is not None:
        door = Door.take(LOCAL, status_port, token)
        door.publish(address_file)
        tell(f"status at {door.url('/status')}")
    with progress_on_stderr() as progress:
        prepare_process(flow, max_workers)
        with served(door) as show_run:
            from flowtoy_dagster.runs.run import run_flow

            carry_out(
                flow,
                lambda show: run_flow(flow, max_workers, on_change=show, on_created=show_run),
                writer,
                progress,
                show_secrets=show_secrets,
            )
