"""`flowtoy serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from flowtoy_dagster.cli.options import (
    Debug,
    EnvFile,
    Level,
    LogLevel,
    MaxWorkers,
    Timeout,
    load_env_files,
)

DEFAULT_PORT = 8000


def serve(
    config: Annotated[
        list[str],
        typer.Argument(help="YAML files, merged left to right; - is standard input.",
                       metavar="CONFIG..."),
    ],
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port; 0 is any that is free.")
    ] = DEFAULT_PORT,
    max_workers: MaxWorkers = None,
    env_file: EnvFile = None,
    log_level: Level = LogLevel.warning,
    timeout: Timeout = None,
    debug: Debug = False,
) -> None:
    """Run a flow once, and serve its status and outputs until Ctrl-C.

    Nothing is printed on stdout: the outputs are at `/outputs`, the status is at `/status`, and
    `/flow` is a page that shows both. The exit code is that of `flowtoy run`: Ctrl-C after the run
    has ended is no interruption.
    """
    from flowtoy_dagster.cli.carrying import carry_out, prepare_process
    from flowtoy_dagster.cli.printing import OutputWriter, claim_stdout
    from flowtoy_dagster.cli.serving import listen_and_tell, served
    from flowtoy_dagster.engine.logs import set_log_level
    from flowtoy_dagster.load import load_flow, with_timeout
    from flowtoy_dagster.progress import progress_on_stderr

    load_env_files(env_file or [])
    set_log_level(log_level.value)
    writer = OutputWriter(claim_stdout(), as_json=True, quiet=True, file=None)
    flow = with_timeout(load_flow(config), timeout)
    listener = listen_and_tell(host, port)
    with progress_on_stderr() as progress:
        prepare_process(flow, max_workers)
        with served(listener) as show_run:
            from flowtoy_dagster.runs.launch import run_flow

            carry_out(
                flow,
                lambda show: run_flow(flow, max_workers, on_change=show, on_created=show_run),
                writer,
                progress,
                show_secrets=False,
            )
