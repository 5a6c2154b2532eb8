"""`flowtoy run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from flowtoy_dagster.cli.options import LogLevel, load_env_files


def run(
    config: Annotated[
        list[str],
        typer.Argument(help="YAML files, merged left to right; - is standard input.",
                       metavar="CONFIG..."),
    ],
    max_workers: Annotated[
        Optional[int],  # noqa: UP045 - Typer reads this at run time
        typer.Option("--max-workers", metavar="N", help="How many steps may run at once."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", "-j", help="Print the outputs as complete JSON.")
    ] = False,
    output_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output-file", "-o", metavar="PATH", dir_okay=False,
                     help="Also write the outputs as JSON to a file, whole or not at all."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing on stdout.")] = False,
    env_file: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option("--env-file", metavar="PATH",
                     help="Read variables from a dotenv file; those already set win."),
    ] = None,
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="Print secret outputs unmasked.")
    ] = False,
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", help="How much of the log to show on stderr.")
    ] = LogLevel.warning,
    timeout: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--timeout", metavar="DURATION",
                     help="End the run after this time: 90, 30s, 5m."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
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
    prepare_process(flow)

    from flowtoy_dagster.runs.launch import run_flow

    carry_out(
        flow,
        lambda show: run_flow(flow, max_workers, on_change=show),
        writer,
        show_secrets=show_secrets,
    )
