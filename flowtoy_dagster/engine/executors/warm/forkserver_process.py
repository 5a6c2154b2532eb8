"""What the fork server itself does: it imports, forks workers, and ends what they leave behind.

Started by `forkserver_client.py` with the file descriptor of a socket, or in a process that
`ForkServer.fork_off` has forked.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from flowtoy_dagster.errors import system_reason
from flowtoy_dagster.providers.process_tree import adopt_orphans, children

END_TIMEOUT = 8.0
"""Seconds that workers have to end by themselves when the parent is gone."""
NUMBER = struct.Struct("!I")
"""A request: the number of the worker to fork."""
FAREWELL = 0xFFFFFFFF
"""Sent instead of a worker's number by a parent that ends as it means to."""
_ORPHAN_GRACE = 2.0
"""Seconds between TERM and KILL for what a killed worker leaves behind."""


class PreloadError(Exception):
    """What workers need can't be imported."""


def main() -> None:
    """The server's side; never returns in the server, and ends a worker with `os._exit`."""
    control = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(control.fileno(), False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = json.loads(_read_line(control))
    sys.path[:] = request["path"]
    try:
        start = import_for_workers(request["preload"], request["entry"])
    except PreloadError as error:
        _tell(control, failed=str(error))
        sys.exit(1)
    _tell(control, ready=os.getpid())
    Server(control, start).run()


def import_for_workers(preload: Sequence[str], entry: str) -> Callable[[int], None]:
    """Import modules; gives the function that `entry` names."""
    module, function = entry.split(":")
    name = module
    # The collector finds nothing while modules load, and frozen objects stay shared after forks.
    gc.disable()
    try:
        for name in [*preload, module]:
            importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise PreloadError(
            f"workers can't import '{name}': {type(error).__name__}: {error}"
        ) from error
    finally:
        gc.freeze()
        gc.enable()
    found: Callable[[int], None] = getattr(sys.modules[module], function)
    return found


def _read_line(control: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        data = control.recv(1)
        if not data:
            sys.exit(0)
        line += data
    return line


def _tell(control: socket.socket, **message: Any) -> None:
    with contextlib.suppress(OSError):
        control.sendall(json.dumps(message).encode() + b"\n")


class Server:
    """Forks workers on demand, and ends what they leave behind.

    Args:
        control: the parent's requests come and the news go by it.
        entry: called in a worker with the file descriptor of its socket.
    """

    def __init__(self, control: socket.socket, entry: Callable[[int], None]) -> None:
        self._control = control
        self._entry = entry
        self._workers: dict[int, int] = {}
        self._doomed: dict[int, float] = {}
        self._farewell = False
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)

    def run(self) -> None:
        """Serve until the parent is gone; never returns."""
        signal.set_wakeup_fd(self._wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        adopt_orphans()
        while True:
            patience = 0.1 if self._doomed else None
            sources: list[Any] = [self._control, self._wake_read]
            ready, _, _ = select.select(sources, [], [], patience)
            if self._wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 1 << 12)
            if self._control in ready and not self._serve():
                break
            self._reap()
            self._end_doomed()
        self._end_workers()
        os._exit(0)

    def _serve(self) -> bool:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, NUMBER.size, 1)
        except OSError:
            return False
        if len(data) < NUMBER.size or not descriptors:
            self._farewell = data == NUMBER.pack(FAREWELL)
            return False
        (number,) = NUMBER.unpack(data)
        try:
            pid = os.fork()
        except OSError as error:
            os.close(descriptors[0])
            reason = system_reason(error)
            _tell(self._control, unable=f"a worker can't be started: {reason}")
            return True
        if pid == 0:
            self._become_worker(descriptors[0])
        os.close(descriptors[0])
        self._workers[pid] = number
        _tell(self._control, forked=pid, worker=number)
        return True

    def _become_worker(self, descriptor: int) -> None:
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (self._wake_read, self._wake_write):
                os.close(end)
            self._control.close()
            self._entry(descriptor)
            status = 0
        except KeyboardInterrupt:
            status = 128 + signal.SIGINT
        except BaseException:  # noqa: BLE001 - the last place that can report it
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                # What had a group of its own is adopted only now.
                if self._doomed.pop(pid, None) is not None:
                    self._doom_orphans()
                number = self._workers.pop(pid, None)
                if number is not None:
                    code = os.waitstatus_to_exitcode(status)
                    _tell(self._control, ended=pid, worker=number, status=code)
                    if code != 0:
                        self._doom_orphans()

    def _doom_orphans(self) -> None:
        """TERM to what a killed worker's commands have left to us; KILL follows."""
        for pid in children():
            if pid not in self._workers and pid not in self._doomed:
                self._doomed[pid] = time.monotonic() + _ORPHAN_GRACE
                _signal_all(pid, signal.SIGTERM)

    def _end_doomed(self) -> None:
        for pid, deadline in list(self._doomed.items()):
            if time.monotonic() > deadline:
                _signal_all(pid, signal.SIGKILL)
                del self._doomed[pid]

    def _end_workers(self) -> None:
        """Workers see their own sockets close; those that don't heed it are killed."""
        deadline = time.monotonic() + END_TIMEOUT
        while self._workers and time.monotonic() < deadline:
            select.select([self._wake_read], [], [], 0.05)
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 1 << 12)
            self._reap()
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # What a flow has left running in a run that ended well is its own affair.
        if not self._farewell:
            self._doom_orphans()
        while self._doomed:
            time.sleep(0.05)
            self._reap()
            self._end_doomed()


def _signal_all(pid: int, number: int) -> None:
    """Send a signal to a process and, where it is not ours, to its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        group = os.getpgid(pid)
        if group != os.getpgid(0):
            os.killpg(group, number)
        os.kill(pid, number)


if __name__ == "__main__":
    main()
