"""`flowtoy tui`."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from flowtoy_dagster.cli.shared import collect_garbage_again
from flowtoy_dagster.cli.shared.options import (
    AddressFile,
    Debug,
    EnvFile,
    Level,
    LogLevel,
    MaxWorkers,
    OptionalConfig,
    Param,
    ParamsFile,
    StatusUrl,
    Token,
    begin,
    flow_of,
    run_to_show,
)
from flowtoy_dagster.cli.shared.pages import sign_of_life
from flowtoy_dagster.cli.shared.serving import Door, status_door, status_server
from flowtoy_dagster.errors import UsageError

if TYPE_CHECKING:
    from flowtoy_dagster.flow.graph import Flow

ShowLogs = Annotated[
    bool, typer.Option("--show-logs", help="Show what steps print, rather than their outputs.")
]
StatusPort = Annotated[
    Optional[int],  # noqa: UP045 - Typer reads these at run time
    typer.Option("--status-port", metavar="PORT", min=0, max=65535,
                 help="Serve the run's status on this port, too, while the page is there; 0 is"
                      " any that is free."),
]


def tui(
    config: OptionalConfig = None,
    status_url: StatusUrl = None,
    max_workers: MaxWorkers = None,
    show_logs: ShowLogs = False,
    param: Param = None,
    params_file: ParamsFile = None,
    env_file: EnvFile = None,
    log_level: Level = LogLevel.warning,
    status_port: StatusPort = None,
    token: Token = None,
    address_file: AddressFile = None,
    debug: Debug = False,
) -> None:
    """Run a flow, or watch a run elsewhere, on a page in the terminal.

    The run starts at once. The page stays after the end of the run. Closing the page ends a run
    that goes on: q asks first. The exit code is that of `flowtoy run`. It is 0 if you leave a run
    elsewhere while that goes on.
    """
    url = run_to_show(config, status_url)
    if importlib.util.find_spec("textual") is None:
        raise UsageError("flowtoy tui needs Textual: pip install 'flowtoy-dagster[tui]'")
    if url and status_port is not None:
        raise UsageError("a run elsewhere has its status served already: leave out --status-port")
    begin(env_file, log_level)
    if url:
        status_door(None, token, address_file)
        code = _watch(url, show_logs)
    else:
        flow = flow_of(config or (), param, params_file)
        _need_terminal()
        door = status_door(status_port, token, address_file)
        code = _run(flow, max_workers, show_logs, door)
    if code:
        raise typer.Exit(code)


def _watch(url: str, show_logs: bool) -> int:
    from flowtoy_dagster.runs.status.remote import RemoteRun
    from flowtoy_dagster.tui.sources import RunElsewhere

    source = RunElsewhere(RemoteRun(url))
    status = source.status()
    _need_terminal()
    from flowtoy_dagster.tui.session import show

    collect_garbage_again()
    return show(source, status, show_logs=show_logs)


def _run(flow: Flow, max_workers: int | None, show_logs: bool, door: Door | None) -> int:
    with contextlib.ExitStack() as stack:
        show_run = None
        if door is not None:
            show_run = stack.enter_context(status_server(door)).show
        clear = stack.enter_context(sign_of_life("starting the run"))
        from flowtoy_dagster.tui.session import messages_kept, show

        messages = stack.enter_context(messages_kept())
        from flowtoy_dagster.runs.processes.run_process import RunProcess

        # It imports Dagster while we do.
        process = RunProcess(messages)
        try:
            from flowtoy_dagster.tui.session import run_here
        except BaseException:
            process.kill()
            raise
        with run_here(flow, max_workers, process, messages, show_run) as source:
            clear()
            collect_garbage_again()
            return show(source, source.status(), show_logs=show_logs)


def _need_terminal() -> None:
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
        raise UsageError("flowtoy tui needs a terminal; flowtoy run prints lines")
