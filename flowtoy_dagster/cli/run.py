"""`flowtoy run`."""

from __future__ import annotations

from flowtoy_dagster.cli.shared import import_quickly
from flowtoy_dagster.cli.shared.options import (
    AddressFile,
    AsJson,
    Config,
    Debug,
    EnvFile,
    Executor,
    Level,
    LogLevel,
    MaxWorkers,
    Only,
    OutputFile,
    Param,
    ParamsFile,
    Quiet,
    Record,
    Replay,
    ShowSecrets,
    StatusPort,
    Timeout,
    Token,
    WithRun,
    begin,
    flow_of,
    settled,
)


def run(
    config: Config,
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
    executor: Executor = None,
    status_port: StatusPort = None,
    token: Token = None,
    address_file: AddressFile = None,
    record: Record = None,
    replay: Replay = None,
    only: Only = None,
    with_run: WithRun = None,
    debug: Debug = False,
) -> None:
    """Run a flow and print its outputs.

    Steps that don't depend on each other run at the same time. Progress goes to stderr, the
    outputs go to stdout. The exit code is 0 when the run succeeded, 1 when it failed, 2 when the
    configuration or the command line is wrong and 130 when it was interrupted; Ctrl-C after the run
    has ended, where `--status-port` makes the command stay, is no interruption.

    `--record` writes down each call with its answer, secrets masked. `--replay` answers the calls
    from there and calls nothing; a call that was not recorded, or that differs, fails.

    `--only` runs the steps that it names and nothing else. What they need is taken from the run
    that `--with` names, and parameters are as they were there unless they are given.
    """
    import_quickly("flowtoy_dagster.loader")

    from flowtoy_dagster.cli.shared.execute import run_and_serve
    from flowtoy_dagster.cli.shared.printing import OutputWriter, claim_stdout
    from flowtoy_dagster.cli.shared.selected import Wanted, run_selected
    from flowtoy_dagster.cli.shared.serving import LOCAL, Door, tell

    begin(env_file, log_level)
    writer = OutputWriter(claim_stdout(), as_json=as_json, quiet=quiet, file=output_file)
    selected = None
    if only or with_run:
        selected = Wanted(only or (), with_run, param or (), params_file or ())
        flow = settled(config, timeout, executor)
    else:
        flow = flow_of(config, param, params_file, timeout, executor)
    door = None
    if status_port is not None:
        door = Door.take(LOCAL, status_port, token, option="--status-port")
        door.publish(address_file)
        tell(f"status at {door.url('/status')}")
    if selected is not None:
        run_selected(flow, selected, max_workers, door, writer, show_secrets=show_secrets,
                     record=record, replay=replay)
        return
    run_and_serve(
        flow, max_workers, door, writer, show_secrets=show_secrets, record=record, replay=replay
    )
