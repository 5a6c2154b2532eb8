"""Flowtoy's page, with Dagster's web UI and the status API on the same port.

A run of a flow is started for it, or one of the history is shown.
"""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowtoy_dagster.errors import RunInterrupted
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.providers.process_tree import children
from flowtoy_dagster.runs.processes.run_process import RunProcess
from flowtoy_dagster.server.http.connections import server_options
from flowtoy_dagster.server.http.endpoint import Ending, Listener
from flowtoy_dagster.server.http.guard import Guard

if TYPE_CHECKING:
    from flowtoy_dagster.runs.history import History
    from flowtoy_dagster.server.dagster_web import DagsterWeb

CONFIG_VARIABLE = "FLOWTOY_CONFIG"
"""By which the process of the code location knows the files."""
PATIENCE = 7.0
"""Seconds from a Ctrl-C until what still runs is killed, and the grace of the runs is more;
commands get 5 of them."""
_GRACE = 1
"""Seconds for which answers that are being given are waited for."""
_LOOK = 0.05
LARGEST_MESSAGE = 1 << 20
"""Bytes of what a page says by a websocket."""


@dataclass(frozen=True)
class WebOptions:
    """How the UI is served.

    Attributes:
        max_workers: how many steps of the run may run at once.
        hosts: more names by which the server may be reached.
        token: what visitors must know; nothing, where it is None.
        read_only: whether visitors may only look.
    """

    max_workers: int | None = None
    hosts: Sequence[str] = ()
    token: str | None = None
    read_only: bool = False


def new_token() -> str:
    """A token that can't be guessed."""
    return secrets.token_urlsafe(24)


def serve_flow(
    flow: Flow,
    files: Sequence[str],
    listener: Listener,
    options: WebOptions,
    announce: Callable[[str], None],
) -> bool:
    """Run a flow and serve the web UI until Ctrl-C, SIGTERM or SIGHUP.

    Args:
        flow: what to run.
        files: what it was loaded from, for the code location to load it again.
        listener: where to serve.
        options: how.
        announce: called with the run's id when its page is there.

    Returns:
        whether the run that was started last succeeded.

    Raises:
        HomeError: the home folder can't be used.
        RunInterrupted: a run went on when the server was ended.
    """
    with Ending() as ending:
        # It imports what a run needs while we import what a server needs.
        process = RunProcess()
        found = _name_files(files)

        with _serving_history() as history:
            session = _Session(history, listener, options, ending)
            return session.carry_out(
                lambda: session.start_run(flow, process), announce, with_location=found
            )


def serve_history(
    wanted: str, listener: Listener, options: WebOptions, announce: Callable[[str], None]
) -> bool:
    """Show a run of the history, and serve the web UI until Ctrl-C, SIGTERM or SIGHUP.

    Nothing is run until somebody asks for it on the page.

    Args:
        wanted: the run, as `History.find` takes it.
        listener: where to serve.
        options: how.
        announce: called with the run's id when its page is there.

    Returns:
        whether the run that was started last, if one was, succeeded.

    Raises:
        UsageError: there is no such run, or the home folder can't be used.
        RunInterrupted: a run went on that was started here when the server was ended.
    """
    with Ending() as ending, _serving_history() as history:
        session = _Session(history, listener, options, ending)
        session.shown = history.find(wanted).run_id
        return session.carry_out(lambda: None, announce, with_location=False)


def _serving_history() -> History:
    from flowtoy_dagster.engine.storage.instances import serving_instance
    from flowtoy_dagster.runs.history import History
    from flowtoy_dagster.runs.processes.dagster_launcher import LAUNCHER

    return History(open_instance=lambda home: serving_instance(home, LAUNCHER))


def _name_files(files: Sequence[str]) -> bool:
    """Tell the code location its files; whether it can load them."""
    # Standard input can't be read again, and a path is one of several that are separated so.
    if any(file == "-" or os.pathsep in file for file in files):
        return False
    os.environ[CONFIG_VARIABLE] = os.pathsep.join(os.path.abspath(file) for file in files)
    return True


class _Session:
    """One server, from the start of its first run until nothing of it is left."""

    def __init__(
        self, history: History, listener: Listener, options: WebOptions, ending: Ending
    ) -> None:
        from flowtoy_dagster.runs.processes.dagster_launcher import FlowtoyRunLauncher

        self._history = history
        self._listener = listener
        self._options = options
        self._ending = ending
        launcher = history.instance.run_launcher
        assert isinstance(launcher, FlowtoyRunLauncher)
        self._launcher = launcher
        self.shown = ""
        """The run that is shown while none was started here."""
        self._web: DagsterWeb | None = None
        self._server: Any = None
        self._threads: list[threading.Thread] = []
        self._ended_at = 0.0
        """When the runs that went on were asked to end."""

    @property
    def _latest(self) -> str:
        """The run that the page shows where none is named."""
        return self._launcher.latest or self.shown

    def carry_out(
        self, begin: Callable[[], None], announce: Callable[[str], None], *, with_location: bool
    ) -> bool:
        """Begin, serve until somebody wants an end, and end; as `serve_flow` returns it."""
        try:
            begin()
            self.serve(announce, with_location=with_location)
        finally:
            going_on = self.end()
        return self.judge(going_on)

    def start_run(self, flow: Flow, process: RunProcess) -> None:
        """Start the first run."""
        from flowtoy_dagster.engine.jobs.dagster_names import dagster_name
        from flowtoy_dagster.runs.processes.background_run import launch_background
        from flowtoy_dagster.server.dagster_web import flow_job

        self._launcher.add(
            launch_background(
                self._history,
                flow,
                self._options.max_workers,
                process=process,
                remote_origin=flow_job(dagster_name(flow.name)),
            )
        )

    def serve(self, announce: Callable[[str], None], *, with_location: bool) -> None:
        """Serve until somebody wants an end."""
        import uvicorn

        options = server_options(
            # A client that does not speak the protocol is no news.
            log_level="critical", timeout_graceful_shutdown=_GRACE, ws_max_size=LARGEST_MESSAGE
        )
        config = uvicorn.Config(self._app(), **options)
        self._server = uvicorn.Server(config)
        # The command line turns the collector off while modules load.
        gc.enable()
        self._ending.expect()
        # In a thread of its own, since uvicorn takes the signals of the main one.
        self._start(lambda: self._server.run(sockets=[self._listener.socket]))
        announce(self._latest)
        if with_location and self._web is not None:
            self._start(self._web.load_flow)
        self._ending.wanted.wait()

    def _start(self, work: Callable[[], None]) -> threading.Thread:
        def shielded() -> None:
            # Processes that it starts, such as the code location's, inherit this: a Ctrl-C in the
            # terminal is for us, who then end them.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            work()

        thread = threading.Thread(target=shielded, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _app(self) -> Guard:
        from starlette.applications import Starlette
        from starlette.routing import Mount

        from flowtoy_dagster.runs.live_view import RunView
        from flowtoy_dagster.server.dagster_web import GRAPHQL, DagsterWeb
        from flowtoy_dagster.server.page_routes import page_routes
        from flowtoy_dagster.server.run_actions import ACTIONS, RunActions, action_routes
        from flowtoy_dagster.server.run_routes import RunReader, run_routes
        from flowtoy_dagster.server.status_api import status_routes

        options = self._options
        self._web = DagsterWeb(self._history.instance, read_only=options.read_only)
        view = RunView(self._history, lambda: self._latest)
        actions = None
        if not options.read_only:
            actions = RunActions(self._history, self._launcher, options.max_workers)
        # Ours come first: Dagster's answers to every path.
        app = Starlette(
            routes=[
                *page_routes(
                    "/", "/flow", runs=True, dagster=True, log=True, actions=actions is not None
                ),
                *status_routes(view),
                *run_routes(RunReader(self._history)),
                *action_routes(actions),
                Mount("/", self._web.app),
            ]
        )
        writable = (GRAPHQL, ACTIONS)
        return Guard(
            app, self._listener, hosts=options.hosts, token=options.token, writable=writable
        )

    def end(self) -> list[str]:
        """End everything; gives the runs that still went on."""
        deadline = time.monotonic() + max(PATIENCE, self._launcher.patience)
        self._ending.expect()
        if self._server is not None:
            self._server.should_exit = True
        self._ended_at = time.time()
        going_on = self._launcher.cancel_all()
        closer = self._start(self._web.close) if self._web is not None else None
        while not self._launcher.is_idle and time.monotonic() < deadline:
            if self._ending.hurried.wait(_LOOK):
                break
        self._launcher.kill_all()
        if closer is not None:
            closer.join(_GRACE)
        # The process of the code location has nothing to lose, and takes its time to end.
        for pid in children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._web is not None:
            self._web.remove_folder()
        for thread in self._threads:
            thread.join(_GRACE)
        return going_on

    def judge(self, going_on: Sequence[str]) -> bool:
        """Whether the run that was started last succeeded; true where none was.

        The history decides, as it does for everybody who looks later: a run that was finished,
        whose process had yet to end, was not interrupted.
        """
        interrupted = [run_id for run_id in going_on if self._was_interrupted(run_id)]
        if interrupted:
            ids = ", ".join(run_id[:8] for run_id in interrupted)
            raise RunInterrupted(f"interrupted: run {ids} is cancelled")
        if self._launcher.latest is None:
            return True
        run = self._history.instance.get_run_by_id(self._launcher.latest)
        return run is not None and run.is_success

    def _was_interrupted(self, run_id: str) -> bool:
        """Whether our end ended a run, and not somebody's cancel before it."""
        from dagster import DagsterRunStatus

        record = self._history.instance.get_run_record_by_id(run_id)
        if record is None:
            return False
        status = record.dagster_run.status
        if status is DagsterRunStatus.CANCELED:
            # Its process was on this machine, so it has our clock.
            return record.end_time is None or record.end_time >= self._ended_at
        return status not in (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE)
