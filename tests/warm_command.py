"""A process that has imported flowtoy, and forks a command off for each request.

Most of the time that a `flowtoy` command takes goes into importing Dagster. Here that is done
once for many: each command is a process with arguments, streams, a folder and an environment of
its own, which goes the way of `python -m flowtoy_dagster` from there to its exit.

Run as `python warm_command.py FD` with a socket for its file descriptor. A request is JSON with
`arguments`, `cwd` and `env`, and the descriptors of stdin, stdout, stderr and of a socket, which
gets the command's pid and, when it has ended, its exit code. A request with `server` is for a fork
server of workers, which becomes the child of whoever asked; one more descriptor is its socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import socket
import sys
import time
from typing import Any

MODULES = (
    "flowtoy_dagster.cli.app",
    "flowtoy_dagster.cli.shared.execute",
    "flowtoy_dagster.providers.rest.provider",
    "flowtoy_dagster.runs.cancel",
    "flowtoy_dagster.runs.retry",
)
"""What commands import, beside what workers do."""
MOST = 1 << 17
"""Bytes that a request may have."""


def serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork a command for each request.

    Returns:
        in a command, its request; None in the server, when there will be no more requests.
    """
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, MOST, 5)
        if not data:
            return None
        if os.fork() == 0:
            control.close()
            request = dict(json.loads(data))
            if "server" in request:
                request["server"] = descriptors.pop()
                _leave(descriptors)
            else:
                _follow(descriptors)
            return request
        for descriptor in descriptors:
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                """One that watched over a command has ended."""


def _leave(descriptors: list[int]) -> None:
    """Go on as a child of the process that asked, which adopts what this one leaves."""
    *streams, answer = descriptors
    before = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == before:
        time.sleep(0.001)
    os.setsid()
    _take(streams)
    with socket.socket(fileno=answer) as told:
        told.sendall(f"{os.getpid()}\n".encode())


def _take(streams: list[int]) -> None:
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)


def _follow(descriptors: list[int]) -> None:
    """Go on as the command; this process tells how it ended."""
    *streams, answer = descriptors
    pid = os.fork()
    if pid == 0:
        os.close(answer)
        _take(streams)
        return
    for descriptor in streams:
        os.close(descriptor)
    with socket.socket(fileno=answer) as told:
        told.sendall(f"{pid}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(BrokenPipeError):
            told.sendall(f"{code}\n".encode())
    os._exit(0)


def main() -> None:
    """Import, serve, and end as the command that was asked for."""
    del sys.path[0]  # this folder
    from flowtoy_dagster.cli.app import make_app
    from flowtoy_dagster.engine.executors.warm import forkserver_process
    from flowtoy_dagster.engine.executors.warm.forked_off import DEFINITIONS, ENTRY, PRELOAD

    make_app()  # imports all commands
    forkserver_process.import_for_workers((*MODULES, PRELOAD, DEFINITIONS), ENTRY)
    # A Ctrl-C is for pytest, which then lets this process end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as control:
        os.set_inheritable(control.fileno(), False)
        request = serve(control)
    if request is None:
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    if "server" in request:
        sys.argv[1:] = [str(request["server"])]
        forkserver_process.main()
    # What `python -m` does.
    folders = filter(None, request["env"].get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = [request["cwd"], *(folder for folder in folders if folder not in sys.path)]
    sys.argv[1:] = request["arguments"]
    runpy.run_module("flowtoy_dagster", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
