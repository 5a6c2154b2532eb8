"""`flowtoy run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
    RunOptions,
    ShowSecrets,
    StatusPort,
    Timeout,
    Token,
    WithRun,
    begin,
    flow_of,
    settled,
    show_warnings,
    warn_of_unset,
)
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.terminal import say, show_sign_of_life

if TYPE_CHECKING:
    from flowtoy_dagster.cli.shared.printing import OutputWriter
    from flowtoy_dagster.cli.shared.serving import Door
    from flowtoy_dagster.flow.graph import Flow


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
    outputs go to stdout. The exit code is 0 if the run succeeded, 1 if it failed, 2 if the
    configuration or the command line is wrong, and 130 if the run was interrupted. The
    first Ctrl-C after the end of the run does not change it: the outputs are printed all the same.
    """
    show_sign_of_life()
    import_quickly("flowtoy_dagster.loader")
    begin(env_file, log_level)
    options = RunOptions(max_workers, show_secrets, record, replay)
    writer = _writer(as_json, quiet, output_file)
    if only or with_run:
        wanted = Wanted(config, only or (), with_run, param or (), params_file or ())
        flow = settled(config, timeout, executor)
        _run_selected(flow, wanted, options, _door(status_port, token, address_file), writer)
    else:
        flow = flow_of(config, param, params_file, timeout, executor)
        warn_of_unset(flow)
        _run_all(flow, options, _door(status_port, token, address_file), writer)


def _writer(as_json: bool, quiet: bool, file: Path | None) -> OutputWriter:
    from flowtoy_dagster.cli.shared.printing import OutputWriter, claim_stdout

    return OutputWriter(claim_stdout(), as_json=as_json, quiet=quiet, file=file)


def _door(port: int | None, token: bool | None, address_file: Path | None) -> Door | None:
    """Where the run's status is served; None where no port was given."""
    from flowtoy_dagster.cli.shared.serving import status_door

    return status_door(port, token, address_file)


@dataclass(frozen=True)
class Wanted:
    """What the command line says of the steps that run.

    Raises:
        UsageError: a part is missing, or a step's name is among the files.
    """

    config: Sequence[str]
    only: Sequence[str]
    run: str | None
    params: Sequence[str]
    params_files: Sequence[Path]

    def __post_init__(self) -> None:
        if not self.only:
            raise UsageError("--with names a run for --only\n    add --only STEP")
        if self.run is None:
            raise UsageError(
                "--only needs the run that has what the steps need\n"
                "    add --with RUN, such as --with last; flowtoy step runs one step by itself"
            )
        for word in self.config[1:]:
            path = Path(word)
            if not path.suffix and path.name == word and not path.exists() and word != "-":
                hint = f"for several steps, repeat the option: --only {word}"
                raise UsageError(f"there is no file '{word}'\n    {hint}")


def _run_all(flow: Flow, options: RunOptions, door: Door | None, writer: OutputWriter) -> None:
    from flowtoy_dagster.cli.shared.execute import run_and_serve

    run_and_serve(flow, options, door, writer)


def _run_selected(
    flow: Flow, wanted: Wanted, options: RunOptions, door: Door | None, writer: OutputWriter
) -> None:
    """Run some steps, with progress on stderr, and serve the status where there is a door.

    Raises:
        UsageError: a step is unknown, or what it needs is not in the run.
        typer.Exit: the run failed.
    """
    from flowtoy_dagster.engine.executors.warm.forked_off import fork_off_server
    from flowtoy_dagster.progress import progress_on_stderr

    with progress_on_stderr() as progress:
        # Before the home is opened: what is open must not be shared with the workers' server.
        fork_off_server()

        from flowtoy_dagster.cli.shared.execute import carry_out
        from flowtoy_dagster.cli.shared.serving import served
        from flowtoy_dagster.flow.graph import worker_count
        from flowtoy_dagster.runs.history import History
        from flowtoy_dagster.runs.recorded import recording_for
        from flowtoy_dagster.runs.run import start
        from flowtoy_dagster.runs.selection.only import select

        with served(door) as show_run, History() as history:
            chosen = select(history, history.find(wanted.run or ""), flow, wanted.only,
                            wanted.params, wanted.params_files)
            recording = recording_for(chosen.flow, options.record, options.replay)
            show_warnings(chosen.flow)
            for line in chosen.lines():
                say(line)
            workers = worker_count(chosen.flow, options.max_workers)
            carry_out(
                chosen.flow,
                lambda show: start(
                    history, chosen.flow, workers, on_change=show, on_created=show_run,
                    reuse=chosen.reuse, recording=recording,
                ),
                writer,
                progress,
                show_secrets=options.show_secrets,
                reused=[step.name for step in chosen.flow.steps if step.name not in chosen.names],
            )
