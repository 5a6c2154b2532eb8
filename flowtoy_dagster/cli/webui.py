"""`flowtoy webui`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

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
    OptionalConfig,
    Param,
    ParamsFile,
    Port,
    StatusUrl,
    Token,
    begin,
    flow_of,
    run_to_show,
)
from flowtoy_dagster.cli.shared.serving import DEFAULT_PORT, LOCAL, Door, tell

OpenBrowser = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]
ReadOnly = Annotated[
    bool, typer.Option("--read-only", help="Let visitors look, and not start or end anything.")
]


def webui(
    config: OptionalConfig = None,
    host: Host = LOCAL,
    port: Port = DEFAULT_PORT,
    max_workers: MaxWorkers = None,
    status_url: StatusUrl = None,
    open_browser: OpenBrowser = False,
    read_only: ReadOnly = False,
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

    url = run_to_show(config, status_url)
    claim_stdout()
    begin(env_file, log_level)
    flow = flow_of(config, param, params_file) if config and not url else None
    door = Door.take(host, port, token, allow_host)
    if flow is None:
        _show_elsewhere(url, door, address_file, open_browser)
        return

    from flowtoy_dagster.server.webui import WebOptions, serve_flow

    def announce(run_id: str) -> None:
        does = "see" if read_only else "see, start and end"
        door.warn(f"{does} the runs of this home")
        _announce(door, f"run {run_id[:8]}", "both", address_file, open_browser)

    options = WebOptions(max_workers, door.hosts, door.token, read_only)

    if not serve_flow(flow, config or [], door.listener, options, announce):
        raise typer.Exit(1)


def _show_elsewhere(
    status_url: str, door: Door, address_file: Path | None, open_browser: bool
) -> None:
    from flowtoy_dagster.server.remote import serve_remote

    def announce(remote: str) -> None:
        door.warn()
        ends = "the page, not the run"
        _announce(door, f"run of {remote}", ends, address_file, open_browser)

    serve_remote(status_url, door.listener, announce, token=door.token, hosts=door.hosts)


def _announce(
    door: Door, shown: str, ended: str, address_file: Path | None, open_browser: bool
) -> None:
    """Say where the page is; `ended` is what Ctrl-C ends."""
    door.publish(address_file)
    tell(f"{shown} at {door.url('/')}  (Ctrl-C ends {ended})")
    if open_browser:
        _open(door)


def _open(door: Door) -> None:
    from flowtoy_dagster.server.http.browser import open_page

    def work() -> None:
        if not open_page(door.url("/"), secret=door.token is not None):
            tell("there is no browser to open the page with")

    # A browser that runs in the terminal returns when it is left.
    threading.Thread(target=work, daemon=True).start()
