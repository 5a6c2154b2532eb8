"""`flowtoy serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from flowtoy_dagster.cli.shared import import_quickly
from flowtoy_dagster.cli.shared.options import (
    AddressFile,
    AllowHost,
    Debug,
    EnvFile,
    Host,
    Level,
    LogLevel,
    MaxWorkers,
    Param,
    ParamsFile,
    Port,
    Timeout,
    Token,
    load_env_files,
    show_warnings,
    with_params,
)
from flowtoy_dagster.cli.shared.serving import DEFAULT_PORT, LOCAL


def serve(
    config: Annotated[
        list[str],
        typer.Argument(help="YAML files, merged left to right; - is standard input.",
                       metavar="CONFIG..."),
    ],
    host: Host = LOCAL,
    port: Port = DEFAULT_PORT,
    max_workers: MaxWorkers = None,
    token: Token = None,
    address_file: AddressFile = None,
    allow_host: AllowHost = None,
    param: Param = None,
    params_file: ParamsFile = None,
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
    import_quickly("flowtoy_dagster.loader")

    from flowtoy_dagster.cli.shared.execute import carry_out, prepare_process
    from flowtoy_dagster.cli.shared.printing import OutputWriter, claim_stdout
    from flowtoy_dagster.cli.shared.serving import Door, served, tell
    from flowtoy_dagster.engine.storage.console_log import set_log_level
    from flowtoy_dagster.loader import load_flow, with_timeout
    from flowtoy_dagster.progress import progress_on_stderr

    load_env_files(env_file or [])
    set_log_level(log_level.value)
    writer = OutputWriter(claim_stdout(), as_json=True, quiet=True, file=None)
    flow = with_params(with_timeout(load_flow(config), timeout), param, params_file)
    show_warnings(flow)
    door = Door.take(host, port, token, allow_host)
    door.publish(address_file)
    door.warn()
    tell(f"status at {door.url('/status')}, page at {door.url('/flow')}")
    with progress_on_stderr() as progress:
        prepare_process(flow, max_workers)
        with served(door) as show_run:
            from flowtoy_dagster.runs.run import run_flow

            carry_out(
                flow,
                lambda show: run_flow(flow, max_workers, on_change=show, on_created=show_run),
                writer,
                progress,
                show_secrets=False,
            )
