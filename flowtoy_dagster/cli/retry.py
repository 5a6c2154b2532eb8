"""`flowtoy retry` and `flowtoy cancel`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from flowtoy_dagster.cli.completion.words import complete_flows, complete_steps
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
    begin,
    show_warnings,
)
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.terminal import say, show_sign_of_life

if TYPE_CHECKING:
    from flowtoy_dagster.cli.shared.printing import OutputWriter
    from flowtoy_dagster.flow.graph import Flow


@dataclass(frozen=True)
class _Request:
    """What a retry was asked to do: of which run, and what differs from it."""

    run: str
    flow: Flow | None
    from_step: str | None
    params: Sequence[str]
    params_files: Sequence[Path]
    timeout: str | None


def retry(
    run: RunArgument,
    config: Annotated[
        Optional[list[str]],  # noqa: UP045 - Typer reads these at run time
        typer.Argument(metavar="CONFIG", autocompletion=complete_flows,
                       help="Changed YAML files. Steps that differ run again, too."),
    ] = None,
    from_step: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--from", metavar="STEP", autocompletion=complete_steps,
                     help="Also run this step and all after it."),
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
    show_sign_of_life()

    from flowtoy_dagster.cli.shared.printing import OutputWriter, claim_stdout
    from flowtoy_dagster.loader import load_flow

    if run.endswith((".yaml", ".yml")):
        hint = f"flowtoy retry {(config or ['last'])[0]} {run}"
        raise UsageError(f"'{run}' is a file, and the run comes first\n    {hint}")
    begin(env_file, log_level)
    writer = OutputWriter(claim_stdout(), as_json=as_json, quiet=quiet, file=output_file)
    request = _Request(
        run, load_flow(config) if config else None, from_step, param or (), params_file or (),
        timeout,
    )
    _retry(request, max_workers, writer, show_secrets)


def _retry(
    request: _Request, max_workers: int | None, writer: OutputWriter, show_secrets: bool
) -> None:
    from flowtoy_dagster.engine.executors.warm.forked_off import fork_off_server
    from flowtoy_dagster.progress import progress_on_stderr

    with progress_on_stderr() as progress:
        # Before the home is opened: what is open must not be shared with the workers' server.
        fork_off_server()

        from flowtoy_dagster.cli.shared.execute import carry_out
        from flowtoy_dagster.flow.graph import worker_count
        from flowtoy_dagster.loader import with_timeout
        from flowtoy_dagster.runs.history import History
        from flowtoy_dagster.runs.retry import plan_retry, retry_run

        with History() as history:
            plan = plan_retry(
                history,
                history.find(request.run),
                flow=request.flow,
                from_step=request.from_step,
                params=request.params,
                params_files=request.params_files,
            )
            plan = replace(plan, flow=with_timeout(plan.flow, request.timeout))
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
