"""`flowtoy webui`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

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
    StatusUrl,
    Token,
    begin,
    flow_of,
    run_to_show,
)
from flowtoy_dagster.cli.shared.pages import (
    announce_page,
    named_run,
    show_old_run,
    sign_of_life,
)
from flowtoy_dagster.cli.shared.serving import DEFAULT_PORT, LOCAL, Door
from flowtoy_dagster.errors import UsageError

if TYPE_CHECKING:
    from flowtoy_dagster.flow.graph import Flow
    from flowtoy_dagster.server.webui import WebOptions

Watched = Annotated[
    Optional[list[str]],  # noqa: UP045 - Typer reads these at run time
    typer.Argument(metavar="CONFIG",
                   help="YAML files to run, merged left to right; or a run to show: an id, `last`,"
                        " `failed`, or `last:FLOW`."),
]
OpenBrowser = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]
ReadOnly = Annotated[
    bool, typer.Option("--read-only", help="Only show runs: nothing can be started or ended there.")
]


def webui(
    config: Watched = None,
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
    """Run a flow and watch it in the browser, or show a run of the history there.

    The run starts at once. The page shows its time chart, its graph, and the log and the outputs
    of each step. It has buttons to cancel the run, to retry it, and to run it again with other
    parameters. Dagster's web UI and the status API are on the same port. Ctrl-C ends the server,
    and a run that goes on. If you name a run of the history, nothing starts.
    """
    from flowtoy_dagster.cli.shared.printing import claim_stdout

    url = run_to_show(config, status_url)
    claim_stdout()
    begin(env_file, log_level)
    old = None if url else named_run(config)
    if old is not None and (param or params_file):
        raise UsageError(f"'{old}' is a run that has its parameters: choose others on its page")
    flow = flow_of(config, param, params_file) if config and not url and old is None else None
    door = Door.take(host, port, token, allow_host, file=address_file)
    if url:
        _show_elsewhere(url, door, address_file, open_browser)
        return
    options = _options(max_workers, door, read_only)
    if flow is not None:
        succeeded = _run(flow, config or [], door, options, address_file, open_browser)
    else:
        succeeded = show_old_run(old or "", door, options, address_file, open_browser=open_browser)
    if not succeeded:
        raise typer.Exit(1)


def _options(max_workers: int | None, door: Door, read_only: bool) -> WebOptions:
    from flowtoy_dagster.server.webui import WebOptions

    return WebOptions(max_workers, door.hosts, door.token, read_only)


def _run(
    flow: Flow,
    config: list[str],
    door: Door,
    options: WebOptions,
    address_file: Path | None,
    open_browser: bool,
) -> bool:
    with sign_of_life("starting the run") as clear:
        from flowtoy_dagster.server.webui import serve_flow

        def announce(run_id: str) -> None:
            clear()
            does = "see" if options.read_only else "see, start and end"
            door.warn(f"{does} the runs of this home")
            announce_page(
                door, f"run {run_id[:8]}", "both", address_file, open_browser=open_browser
            )

        return serve_flow(flow, config, door.listener, options, announce)


def _show_elsewhere(
    status_url: str, door: Door, address_file: Path | None, open_browser: bool
) -> None:
    from flowtoy_dagster.server.remote import serve_remote

    with sign_of_life("asking for the run") as clear:

        def announce(remote: str) -> None:
            clear()
            door.warn()
            ends = "the page, not the run"
            announce_page(
                door, f"run of {remote}", ends, address_file, open_browser=open_browser
            )

        serve_remote(status_url, door.listener, announce, token=door.token, hosts=door.hosts)
