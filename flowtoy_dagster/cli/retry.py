"""`flowtoy retry` and `flowtoy cancel`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from flowtoy_dagster.cli.options import LogLevel, load_env_files

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="An id, a unique beginning of one, or `last`.")
]


def retry(
    run: RunArgument,
    config: Annotated[
        Optional[list[str]],  # noqa: UP045 - Typer reads these at run time
        typer.Argument(metavar="[CONFIG...]",
                       help="Changed YAML files; steps that differ are run again."),
    ] = None,
    from_step: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--from", metavar="STEP", help="Also run this step and all after it."),
    ] = None,
    max_workers: Annotated[
        Optional[int],  # noqa: UP045
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
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Run again what failed or was skipped, with the outputs that succeeded steps already have."""
    from flowtoy_dagster.cli.printing import OutputWriter, claim_stdout
    from flowtoy_dagster.engine.logs import set_log_level
    from flowtoy_dagster.load import load_flow

    load_env_files(env_file or [])
    set_log_level(log_level.value)
    stdout = claim_stdout()
    writer = OutputWriter(stdout, as_json=as_json, quiet=quiet, file=output_file)
    given = load_flow(config) if config else None

    from flowtoy_dagster.cli.carrying import carry_out
    from flowtoy_dagster.runs.history import History
    from flowtoy_dagster.runs.launch import worker_count
    from flowtoy_dagster.runs.retry import plan_retry, retry_run

    with History() as history:
        plan = plan_retry(history, history.find(run), flow=given, from_step=from_step)
        for line in plan.lines():
            print(line, file=sys.stderr)
        workers = worker_count(plan.flow, max_workers)
        carry_out(
            plan.flow,
            lambda show: retry_run(history, plan, workers, show),
            writer,
            show_secrets=show_secrets,
        )


def cancel(
    run: RunArgument,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """End a run, wherever it runs, and wait until it has ended."""
    from flowtoy_dagster.runs.cancel import cancel_run
    from flowtoy_dagster.runs.history import History

    with History() as history:
        found = history.find(run)
        cancel_run(history, found)
        print(f"cancelled run {found.run_id[:8]}", file=sys.stderr)
