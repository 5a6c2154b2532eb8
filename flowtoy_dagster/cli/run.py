"""`flowtoy run`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from flowtoy_dagster.cli.options import (
    AsJson,
    Debug,
    EnvFile,
    Level,
    LogLevel,
    MaxWorkers,
    OutputFile,
    Quiet,
    ShowSecrets,
    load_env_files,
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
    show_secrets: ShowSecrets = False,
    log_level: Level = LogLevel.warning,
    timeout: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--timeout", metavar="DURATION",
                     help="End the run after this time: 90, 30s, 5m."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Run a flow and print its outputs.

    Steps that don't depend on each other run at the same time. Progress goes to stderr, the
    outputs go to stdout. The exit code is 0 when the run succeeded, 1 when it failed, 2 when the
    configuration or the command line is wrong and 130 when it was interrupted.
    """
    from flowtoy_dagster.cli.carrying import carry_out, prepare_process
    from flowtoy_dagster.cli.printing import OutputWriter, claim_stdout
    from flowtoy_dagster.engine.logs import set_log_level
    from flowtoy_dagster.load import load_flow, with_timeout

    load_env_files(env_file or [])
    set_log_level(log_level.value)
    stdout = claim_stdout()
    writer = OutputWriter(stdout, as_json=as_json, quiet=quiet, file=output_file)
    flow = with_timeout(load_flow(config), timeout)
    prepare_process(flow, max_workers)

    from flowtoy_dagster.runs.launch import run_flow

    carry_out(
        flow,
        lambda show: run_flow(flow, max_workers, on_change=show),
        writer,
        show_secrets=show_secrets,
    )
