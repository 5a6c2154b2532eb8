"""`flowtoy retry` and `flowtoy cancel`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated, Optional

import typer

from flowtoy_dagster.cli.shared.options import (
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
    RunArgument,
    ShowSecrets,
    Timeout,
    load_env_files,
    show_warnings,
)
from flowtoy_dagster.terminal import say


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
    debug: Debug = False,
) -> None:
    """Run again what failed or was skipped, with the outputs that succeeded steps already have."""
    from flowtoy_dagster.cli.shared.printing import OutputWriter, claim_stdout
    from flowtoy_dagster.engine.storage.console_log import set_log_level
    from flowtoy_dagster.loader import load_flow, with_timeout
    from flowtoy_dagster.progress import progress_on_stderr

    load_env_files(env_file or [])
    set_log_level(log_level.value)
    stdout = claim_stdout()
    writer = OutputWriter(stdout, as_json=as_json, quiet=quiet, file=output_file)
    given = load_flow(config) if config else None

    from flowtoy_dagster.engine.executors.warm.pool import fork_off_server

    with progress_on_stderr() as progress:
        # Before the home is opened: what is open must not be shared with the workers' server.
        fork_off_server()

        from flowtoy_dagster.cli.shared.execute import carry_out
        from flowtoy_dagster.runs.create import worker_count
        from flowtoy_dagster.runs.history import History
        from flowtoy_dagster.runs.retry import plan_retry, retry_run

        with History() as history:
            plan = plan_retry(
                history,
                history.find(run),
                flow=given,
                from_step=from_step,
                params=param or (),
                params_files=params_file or (),
            )
            plan = replace(plan, flow=with_timeout(plan.flow, timeout))
            show_warnings(plan.flow)
            for line in plan.lines():
                say(line)
            workers = worker_count(plan.flow, max_workers)
            carry_out(
                plan.flow,
                lambda show: retry_run(history, plan, workers, show),
                writer,
                progress,
                show_secrets=show_secrets,
                reused=[step.name for step in plan.flow.steps if step.name not in plan.reasons],
            )


def cancel(
    run: RunArgument,
    debug: Debug = False,
) -> None:
    """End a run, wherever it runs, and wait until it has ended."""
    from flowtoy_dagster.runs.cancel import cancel_run
    from flowtoy_dagster.runs.history import History

    with History() as history:
        found = history.find(run)
        cancel_run(history, found)
        print(f"cancelled run {found.run_id[:8]}", file=sys.stderr)
