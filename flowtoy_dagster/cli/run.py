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
    configuration or the command line is wrong, and 130 if the run was interrupted. With
    `--status-port`, Ctrl-C after the end of the run does not change the exit code.

    `--record` writes each call and its answer into a folder, secrets masked. `--replay` answers
    the calls from there and calls nothing. A call that was not recorded, or that differs, fails.

    `--only` runs the named steps and nothing else. They use the outputs and the parameters of the
    run that `--with` names. `--param` changes a parameter.
    """
    show_sign_of_life()
    import_quickly("flowtoy_dagster.loader")

    from flowtoy_dagster.cli.shared.execute import run_and_serve
    from flowtoy_dagster.cli.shared.printing import OutputWriter, claim_stdout
    from flowtoy_dagster.cli.shared.serving import LOCAL, Door, tell

    begin(env_file, log_level)
    writer = OutputWriter(claim_stdout(), as_json=as_json, quiet=quiet, file=output_file)
    selected = None
    if only or with_run:
        selected = Wanted(only or (), with_run, param or (), params_file or ())
        _check_names(config)
        flow = settled(config, timeout, executor)
    else:
        flow = flow_of(config, param, params_file, timeout, executor)
        warn_of_unset(flow)
    door = None
    if status_port is not None:
        door = Door.take(LOCAL, status_port, token, option="--status-port")
        door.publish(address_file)
        tell(f"status at {door.url('/status')}")
    if selected is not None:
        _run_selected(flow, selected, max_workers, door, writer, show_secrets=show_secrets,
                     record=record, replay=replay)
        return
    run_and_serve(
        flow, max_workers, door, writer, show_secrets=show_secrets, record=record, replay=replay
    )


@dataclass(frozen=True)
class Wanted:
    """What the command line says of the steps that run."""

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


def _check_names(config: Sequence[str]) -> None:
    """Reject the names of further steps, which are taken for files.

    Raises:
        UsageError: a word among the files is neither one nor looks like one.
    """
    for word in config[1:]:
        path = Path(word)
        if not path.suffix and path.name == word and not path.exists() and word != "-":
            hint = f"for several steps, repeat the option: --only {word}"
            raise UsageError(f"there is no file '{word}'\n    {hint}")


def _run_selected(
    flow: Flow,
    wanted: Wanted,
    max_workers: int | None,
    door: Door | None,
    writer: OutputWriter,
    *,
    show_secrets: bool,
    record: Path | None,
    replay: Path | None,
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
            recording = recording_for(chosen.flow, record, replay)
            show_warnings(chosen.flow)
            for line in chosen.lines():
                say(line)
            workers = worker_count(chosen.flow, max_workers)
            carry_out(
                chosen.flow,
                lambda show: start(
                    history, chosen.flow, workers, on_change=show, on_created=show_run,
                    reuse=chosen.reuse, recording=recording,
                ),
                writer,
                progress,
                show_secrets=show_secrets,
                reused=[step.name for step in chosen.flow.steps if step.name not in chosen.names],
            )
