"""A process that has imported flowtoy, and forks a command off for each request.

Most of the time that a `flowtoy` command takes goes into importing Dagster. Here that is done
once for many: each command is a process with arguments, streams, a folder and an environment of
its own, which goes the way of `python -m flowtoy_dagster` from there to its exit.

Run as `python warm_command.py FD` with a socket for its file descriptor. A request is JSON with
`arguments`, `cwd` and `env`, and the descriptors of stdin, stdout, stderr and of a socket, which
gets the command's pid and, when it has ended, its exit code.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import socket
import sys
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
        data, descriptors, _, _ = socket.recv_fds(control, MOST, 4)
        if not data:
            return None
        if os.fork() == 0:
            control.close()
            _follow(descriptors)
            return dict(json.loads(data))
        for descriptor in descriptors:
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                """One that watched over a command has ended."""


def _follow(descriptors: list[int]) -> None:
    """Go on as the command; this process tells how it ended."""
    *streams, answer = descriptors
    pid = os.fork()
    if pid == 0:
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
        for descriptor in descriptors:
            os.close(descriptor)
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
    from flowtoy_dagster.engine.executors.warm.forked_off import DEFINITIONS, ENTRY, PRELOAD
    from flowtoy_dagster.engine.executors.warm.forkserver_process import import_for_workers

    make_app()  # imports all commands
    import_for_workers((*MODULES, PRELOAD, DEFINITIONS), ENTRY)
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
    # What `python -m` does.
    folders = filter(None, request["env"].get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = [request["cwd"], *(folder for folder in folders if folder not in sys.path)]
    sys.argv[1:] = request["arguments"]
    runpy.run_module("flowtoy_dagster", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
