"""`flowtoy serve`."""

from __future__ import annotations

from flowtoy_dagster.cli.shared import import_quickly
from flowtoy_dagster.cli.shared.options import (
    AddressFile,
    AllowHost,
    Config,
    Debug,
    EnvFile,
    Host,
    Level,
    LogLevel,
    MaxWorkers,
    Param,
    ParamsFile,
    Port,
    RunOptions,
    Timeout,
    Token,
    begin,
    flow_of,
    warn_of_unset,
)
from flowtoy_dagster.cli.shared.serving import DEFAULT_PORT, LOCAL


def serve(
    config: Config,
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
    `/flow` is a page that shows both. The exit code is that of `flowtoy run`. Ctrl-C after the end
    of the run does not change it.
    """
    import_quickly("flowtoy_dagster.loader")

    from flowtoy_dagster.cli.shared.execute import run_and_serve
    from flowtoy_dagster.cli.shared.printing import OutputWriter, claim_stdout
    from flowtoy_dagster.cli.shared.serving import Door, tell

    begin(env_file, log_level)
    writer = OutputWriter(claim_stdout(), as_json=True, quiet=True, file=None)
    flow = flow_of(config, param, params_file, timeout)
    warn_of_unset(flow)
    door = Door.take(host, port, token, allow_host)
    door.publish(address_file)
    door.warn()
    tell(f"status at {door.url('/status')}, page at {door.url('/flow')}")
    run_and_serve(flow, RunOptions(max_workers), door, writer)
