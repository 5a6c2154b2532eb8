"""The process from which workers are forked: imports once, runs nothing, has no threads.

The parent starts it early, so that it imports while the parent itself still imports. It forks a
worker for each request and tells the parent how each worker ended. It has a session of its own,
so a Ctrl-C in the terminal reaches the parent alone, which then decides. When the parent is gone,
however it went, the server ends its workers and itself.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flowtoy_dagster.errors import RunError

START_TIMEOUT = 60.0
"""Seconds for which the parent waits for the imports."""
END_TIMEOUT = 8.0
"""Seconds that workers have to end by themselves when the parent is gone."""
_NUMBER = struct.Struct("!I")


class ForkServerError(RunError):
    """The fork server could not be started, or is gone."""


@dataclass(frozen=True)
class WorkerEnd:
    """How a worker process ended; `status` as `os.waitstatus_to_exitcode` gives it."""

    number: int
    pid: int
    status: int


@dataclass(frozen=True)
class WorkerStart:
    """A worker process has been forked."""

    number: int
    pid: int


class ForkServer:
    """The parent's side.

    Args:
        preload: modules to import before forking.
        entry: `module:function`, called in a worker with its socket's file descriptor.
    """

    def __init__(self, preload: Sequence[str], entry: str) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._buffer = b""
        self._ready = False
        request = json.dumps({"preload": list(preload), "entry": entry, "path": sys.path})
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise ForkServerError(f"the fork server could not be started: {error}") from None
        finally:
            theirs.close()
        self._socket.sendall(request.encode() + b"\n")

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def fileno(self) -> int:
        """For waiting on news."""
        return self._socket.fileno()

    def fork(self, number: int, worker_socket: socket.socket) -> None:
        """Ask for a worker; its start and its end come as news.

        Raises:
            ForkServerError: the server is gone.
        """
        try:
            descriptors = [worker_socket.fileno()]
            socket.send_fds(self._socket, [_NUMBER.pack(number)], descriptors)
        except OSError:
            raise ForkServerError(f"the fork server is gone: {self._how_it_ended()}") from None

    def wait_until_ready(self) -> None:
        """Wait for the imports.

        Raises:
            ForkServerError: an import failed, or took too long.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while not self._ready:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                self.close()
                raise ForkServerError(f"the fork server was not ready in {START_TIMEOUT:.0f} s")
            for _ in self.news():
                """Nothing was forked yet."""

    def news(self) -> Iterator[WorkerStart | WorkerEnd]:
        """What has happened since the last call; does not wait.

        Raises:
            ForkServerError: the server is gone, or failed to import.
        """
        try:
            data = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            raise ForkServerError(f"the fork server is gone: {self._how_it_ended()}")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "failed" in message:
                self.close()
                raise ForkServerError(f"the fork server can't import {message['failed']}")
            if "ready" in message:
                self._ready = True
            elif "ended" in message:
                yield WorkerEnd(message["worker"], message["ended"], message["status"])
            else:
                yield WorkerStart(message["worker"], message["forked"])

    def close(self) -> None:
        """Let the server end; it first ends the workers that are left."""
        self._socket.close()
        try:
            self._process.wait(END_TIMEOUT + 2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(2)
        except subprocess.TimeoutExpired:
            return "it closed its socket"
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def main() -> None:
    """The server's side; never returns in the server, and ends a worker with `os._exit`."""
    control = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(control.fileno(), False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = json.loads(_read_line(control))
    sys.path[:] = request["path"]
    module, function = request["entry"].split(":")
    try:
        for name in [*request["preload"], module]:
            importlib.import_module(name)
    except BaseException as error:
        _tell(control, failed=f"'{name}': {type(error).__name__}: {error}")
        traceback.print_exc()
        sys.exit(1)
    _tell(control, ready=os.getpid())
    _Server(control, getattr(sys.modules[module], function)).run()


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


class _Server:
    def __init__(self, control: socket.socket, entry: Any) -> None:
        self._control = control
        self._entry = entry
        self._workers: dict[int, int] = {}
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)

    def run(self) -> None:
        signal.set_wakeup_fd(self._wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            ready, _, _ = select.select([self._control, self._wake_read], [], [])
            if self._wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 1 << 12)
            if self._control in ready and not self._serve():
                break
            self._reap()
        self._end_workers()
        os._exit(0)

    def _serve(self) -> bool:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, _NUMBER.size, 1)
        except OSError:
            return False
        if len(data) < _NUMBER.size or not descriptors:
            return False
        (number,) = _NUMBER.unpack(data)
        pid = os.fork()
        if pid == 0:
            self._become_worker(descriptors[0])
        os.close(descriptors[0])
        self._workers[pid] = number
        _tell(self._control, forked=pid, worker=number)
        return True

    def _become_worker(self, descriptor: int) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (self._wake_read, self._wake_write):
                os.close(end)
            self._control.close()
            self._entry(descriptor)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            number = self._workers.pop(pid, None)
            if number is not None:
                code = os.waitstatus_to_exitcode(status)
                _tell(self._control, ended=pid, worker=number, status=code)

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


if __name__ == "__main__":
    main()
