"""`flowtoy webui`."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from flowtoy_dagster.cli.options import (
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
    with_params,
)
from flowtoy_dagster.cli.serving import DEFAULT_PORT, LOCAL, Door
from flowtoy_dagster.errors import UsageError

if TYPE_CHECKING:
    from flowtoy_dagster.server.webui import WebOptions


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
                     help="Show a run elsewhere, by its status API, instead of running a flow."),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open the page in a browser.")
    ] = False,
    read_only: Annotated[
        bool,
        typer.Option("--read-only", help="Let visitors look, and not start or end anything."),
    ] = False,
    token: Token = None,
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
    from flowtoy_dagster.cli.printing import claim_stdout
    from flowtoy_dagster.engine.logs import set_log_level
    from flowtoy_dagster.load import load_flow
    from flowtoy_dagster.server.listening import listen

    if bool(config) == bool(status_url):
        raise UsageError("give either the files of a flow or --status-url")
    claim_stdout()
    load_env_files(env_file or [])
    set_log_level(log_level.value)
    if status_url:
        _show_elsewhere(status_url, Door.take(host, port, token, allow_host), open_browser)
        return

    from flowtoy_dagster.server.webui import WebOptions, new_token, serve_flow

    flow = with_params(load_flow(config or []), param, params_file)
    listener = listen(host, port)
    wants_token = token if token is not None else not listener.is_local
    options = WebOptions(
        max_workers=max_workers,
        hosts=tuple(allow_host or ()),
        token=new_token() if wants_token else None,
        read_only=read_only,
    )

    def announce(url: str, run_id: str) -> None:
        if not listener.is_local:
            _warn(options)
        _tell(f"run {run_id[:8]} at {url}  (Ctrl-C ends both)")
        if open_browser:
            threading.Thread(target=_open, args=(url, wants_token), daemon=True).start()

    if not serve_flow(flow, config or [], listener, options, announce):
        raise typer.Exit(1)


def _show_elsewhere(status_url: str, door: Door, open_browser: bool) -> None:
    from flowtoy_dagster.server.remote import serve_remote

    def announce(remote: str) -> None:
        door.warn()
        _tell(f"run of {remote} at {door.url('/')}  (Ctrl-C ends the page, not the run)")
        if open_browser:
            _open(door.url("/"), door.token is not None)

    serve_remote(status_url, door.listener, announce, token=door.token, hosts=door.hosts)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _warn(options: WebOptions) -> None:
    who = "who has the URL" if options.token else "everybody"
    what = "see" if options.read_only else "see, start and end"
    _tell(
        f"warning: other machines can reach this server: {who} can {what} the runs of this home\n"
        "    what is sent is not encrypted; `ssh -L` to a server on 127.0.0.1 is safer"
    )


def _open(url: str, secret: bool) -> None:
    from flowtoy_dagster.server.browser import open_page

    if not open_page(url, secret=secret):
        _tell("there is no browser to open the page with")
