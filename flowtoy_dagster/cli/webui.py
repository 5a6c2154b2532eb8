"""`flowtoy webui`."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Annotated, Optional

import typer

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
    Token,
    load_env_files,
    show_warnings,
    with_params,
)
from flowtoy_dagster.cli.shared.serving import DEFAULT_PORT, LOCAL, URL_VARIABLE, Door, tell
from flowtoy_dagster.errors import UsageError


def webui(
    config: Annotated[
        Optional[list[str]],  # noqa: UP045 - Typer reads these at run time
        typer.Argument(help="YAML files, merged left to right.", metavar="CONFIG..."),
    ] = None,
    host: Host = LOCAL,
    port: Port = DEFAULT_PORT,
    max_workers: MaxWorkers = None,
    status_url: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--status-url", metavar="URL",
                     help="Show a run elsewhere, by its status API, instead of running a flow. "
                          f"Without a flow, {URL_VARIABLE} is taken."),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open the page in a browser.")
    ] = False,
    read_only: Annotated[
        bool,
        typer.Option("--read-only", help="Let visitors look, and not start or end anything."),
    ] = False,
    token: Token = None,
    address_file: AddressFile = None,
    allow_host: AllowHost = None,
    param: Param = None,
    params_file: ParamsFile = None,
    env_file: EnvFile = None,
    log_level: Level = LogLevel.warning,
    debug: Debug = False,
) -> None:
    """Run a flow and watch it in Dagster's web UI.

    The run starts at once. The page shows it while it goes on and after it has ended, with the log,
    what each step printed and its outputs; steps can be run again there. Ctrl-C ends the server and
    a run that goes on. The status API is on the same port.
    """
    from flowtoy_dagster.cli.shared.printing import claim_stdout
    from flowtoy_dagster.engine.storage.console_log import set_log_level
    from flowtoy_dagster.loader import load_flow

    if config and status_url:
        raise UsageError("give either the files of a flow or --status-url")
    status_url = status_url or ("" if config else os.environ.get(URL_VARIABLE, ""))
    if not config and not status_url:
        raise UsageError(
            f"give either the files of a flow or --status-url (or {URL_VARIABLE}, which others"
            " on this machine can't see)"
        )
    claim_stdout()
    load_env_files(env_file or [])
    set_log_level(log_level.value)
    if status_url:
        door = Door.take(host, port, token, allow_host)
        _show_elsewhere(status_url, door, address_file, open_browser)
        return

    from flowtoy_dagster.server.webui import WebOptions, serve_flow

    flow = with_params(load_flow(config or []), param, params_file)
    show_warnings(flow)
    door = Door.take(host, port, token, allow_host)
    options = WebOptions(max_workers, door.hosts, door.token, read_only)

    def announce(run_id: str) -> None:
        does = "see" if read_only else "see, start and end"
        door.publish(address_file)
        door.warn(f"{does} the runs of this home")
        tell(f"run {run_id[:8]} at {door.url('/')}  (Ctrl-C ends both)")
        if open_browser:
            _open(door)

    if not serve_flow(flow, config or [], door.listener, options, announce):
        raise typer.Exit(1)


def _show_elsewhere(
    status_url: str, door: Door, address_file: Path | None, open_browser: bool
) -> None:
    from flowtoy_dagster.server.remote import serve_remote

    def announce(remote: str) -> None:
        door.publish(address_file)
        door.warn()
        tell(f"run of {remote} at {door.url('/')}  (Ctrl-C ends the page, not the run)")
        if open_browser:
            _open(door)

    serve_remote(status_url, door.listener, announce, token=door.token, hosts=door.hosts)


def _open(door: Door) -> None:
    from flowtoy_dagster.server.http.browser import open_page

    def work() -> None:
        if not open_page(door.url("/"), secret=door.token is not None):
            tell("there is no browser to open the page with")

    # A browser that runs in the terminal returns when it is left.
    threading.Thread(target=work, daemon=True).start()
