"""The status API of a run, served by another process than the one that executes the run.

Readers must not slow the run, and threads of one process would: they share Python's lock. So a
process is forked off, before there are threads, and is given less of the processors than the
run. It ends when its parent does, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from typing_extensions import Self

from flowtoy_dagster.server.http.endpoint import Listener

NICE = 10
"""How much lower the priority of readers is than that of the run's own processes."""
PATIENCE = 2.0
"""Seconds that it has to end."""
_LOOK = 0.05


class StatusServer:
    """The parent's side of the process that serves the status API.

    Args:
        pid: the process.
        lifeline: a pipe that says which run to show; when it closes, the process ends.
    """

    def __init__(self, pid: int, lifeline: int) -> None:
        self.pid = pid
        self._lifeline = lifeline
        self._has_ended = False

    @classmethod
    def fork_off(
        cls,
        listener: Listener,
        serve: Callable[[Listener, Callable[[], str]], None],
        forget: Callable[[], None],
    ) -> Self:
        """Fork the server off this process, which must not have threads.

        Args:
            listener: what it serves on; closed in this process.
            serve: called in the new process, with what gives the run to show once there is one.
            forget: called in the new process first, to close what only the parent may hold.
        """
        reading, writing = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        pid = os.fork()
        if pid:
            os.close(reading)
            listener.socket.close()
            return cls(pid, writing)
        try:
            os.setsid()
            os.close(writing)
            forget()
            _stand_back()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            serve(listener, _Parent(reading).run_id)
        except BaseException:  # noqa: BLE001 - the last place that can report it
            traceback.print_exc()
        finally:
            os._exit(1)

    def show(self, run_id: str) -> None:
        """Tell which run to show."""
        # A server that is gone does not stop the run.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._lifeline, f"{run_id}\n".encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, wanted: threading.Event) -> bool:
        """Wait until an end is wanted; whether the server has not ended before."""
        while not wanted.wait(_LOOK):
            if self.has_ended:
                return False
        return True

    def close(self) -> None:
        """End the server."""
        os.close(self._lifeline)
        deadline = time.monotonic() + PATIENCE
        while not self.has_ended:
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.005)

    @property
    def has_ended(self) -> bool:
        """Whether the server is gone."""
        if not self._has_ended:
            try:
                self._has_ended = os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
            except ChildProcessError:
                self._has_ended = True  # somebody else has waited for it
        return self._has_ended


def _stand_back() -> None:
    """Leave the processors to the run where it wants them."""
    os.nice(NICE)
    # Where Linux gives each session a share of its own, that share is what counts.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE))


class _Parent:
    """What the parent sends, and whether it lives: when it doesn't, this process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._run_id = ""
        self._told = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def run_id(self) -> str:
        """The run to show; waits until there is one."""
        self._told.wait()
        return self._run_id

    def _follow(self) -> None:
        with open(self._descriptor, encoding="utf-8") as lines:
            for line in lines:
                self._run_id = line.strip()
                self._told.set()
        os._exit(0)


def serve_run(
    listener: Listener,
    run_id: Callable[[], str],
    *,
    token: str | None = None,
    hosts: Sequence[str] = (),
) -> None:
    """Serve the status API of the run that the parent names, and the page."""
    from flowtoy_dagster.runs.history import History
    from flowtoy_dagster.runs.live_view import RunView
    from flowtoy_dagster.server.http.endpoint import run_app
    from flowtoy_dagster.server.http.guard import Guard
    from flowtoy_dagster.server.page_routes import page_routes
    from flowtoy_dagster.server.run_routes import RunReader, run_routes
    from flowtoy_dagster.server.status_api import status_app

    run_id()  # readers who are earlier wait for it
    with History() as history:
        routes = [*page_routes("/", "/flow", log=True), *run_routes(RunReader(history, run_id))]
        app = status_app(RunView(history, run_id), routes)
        run_app(Guard(app, listener, hosts=hosts, token=token), listener)
