"""The process from which workers are forked: imports once, runs nothing, has no threads.

It comes about in one of two ways. A parent that may have threads (a web server, a notebook)
starts a new Python that imports what workers need. The command line, which has none, imports
first and forks the server off before it opens anything: one import serves both.

The server forks a worker for each request and reports to the parent how each worker ended. It has a
session of its own, so a Ctrl-C in the terminal reaches the parent alone, which then decides. When
the parent is gone, however it went, the server ends its workers and itself.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from flowtoy_dagster.engine.executors.warm.forkserver_process import (
    END_TIMEOUT,
    FAREWELL,
    NUMBER,
    PreloadError,
    Server,
    import_for_workers,
)
from flowtoy_dagster.errors import RunError, system_reason
from flowtoy_dagster.machine.own_module import module_command
from flowtoy_dagster.providers.subprocesses import signal_name

SERVER_MODULE = "flowtoy_dagster.engine.executors.warm.forkserver_process"
_LOOK = 0.01
START_TIMEOUT = 60.0
"""Seconds for which the parent waits for the imports."""


class ForkServerError(RunError):
    """The fork server could not be started, or is gone."""


class WorkerStartError(ForkServerError):
    """The machine has no room for another worker."""


class WorkerEnd(NamedTuple):
    """How a worker process ended; `status` as `os.waitstatus_to_exitcode` gives it."""

    number: int
    pid: int
    status: int


class WorkerStart(NamedTuple):
    """A worker process has been forked."""

    number: int
    pid: int


class ForkServer:
    """The parent's side; made by `spawn` or `fork_off`."""

    def __init__(self, control: socket.socket, pid: int, *, ready: bool) -> None:
        self.pid = pid
        self._socket = control
        self._buffer = b""
        self._ready = ready
        self._exit_code: int | None = None

    @classmethod
    def spawn(cls, preload: Sequence[str], entry: str) -> "ForkServer":
        """Start a new Python as the server.

        Args:
            preload: modules to import before forking.
            entry: `module:function`, called in a worker with its socket's file descriptor.

        Raises:
            ForkServerError: it could not be started.
        """
        # Python skips what is no text, such as a `Path` that a program has put there.
        path = [entry for entry in sys.path if isinstance(entry, str)]
        request = json.dumps({"preload": list(preload), "entry": entry, "path": path})
        ours, theirs = socket_pair()
        try:
            process = subprocess.Popen(
                module_command(SERVER_MODULE, str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=None if _is_open(1) else subprocess.DEVNULL,
                stderr=None if _is_open(2) else subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            reason = f"{error.strerror}: '{error.filename}'" if error.filename else error.strerror
            raise ForkServerError(f"the fork server could not be started: {reason}") from None
        finally:
            theirs.close()
        # From here on we wait for the process ourselves, as for one that was forked.
        process.returncode = 0
        # Where it has ended already, waiting for it shows why.
        with contextlib.suppress(OSError):
            ours.sendall(request.encode() + b"\n")
        return cls(ours, process.pid, ready=False)

    @classmethod
    def fork_off(cls, preload: Sequence[str], entry: str) -> "ForkServer":
        """Import what workers need here, and fork the server off this process.

        Raises:
            ForkServerError: an import failed, or this process has threads.
        """
        try:
            start = import_for_workers(preload, entry)
        except PreloadError as error:
            raise ForkServerError(str(error)) from error
        threads = threading.active_count()
        if threads != 1 or _kernel_threads() > 1:
            raise ForkServerError("a process with threads can't be forked safely")
        ours, theirs = socket.socketpair()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        pid = os.fork()
        if pid:
            theirs.close()
            return cls(ours, pid, ready=True)
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            # Other descriptors stay open: objects own them, which would close them once more,
            # under whatever has got their numbers by then.
            ours.close()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            Server(theirs, start).run()
        finally:
            os._exit(1)

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
            socket.send_fds(self._socket, [NUMBER.pack(number)], descriptors)
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
        except OSError:
            data = b""
        if not data:
            raise ForkServerError(f"the fork server is gone: {self._how_it_ended()}")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "unable" in message:
                raise WorkerStartError(message["unable"])
            if "failed" in message:
                self.close()
                raise ForkServerError(message["failed"])
            if "ready" in message:
                self._ready = True
            elif "ended" in message:
                yield WorkerEnd(message["worker"], message["ended"], message["status"])
            else:
                yield WorkerStart(message["worker"], message["forked"])

    def forget(self) -> None:
        """Close this process's copy of the socket, so that the server sees the parent's close."""
        self._socket.close()

    def dismiss(self) -> None:
        """Let the server end, and don't wait for it; it first ends the workers that are left."""
        with contextlib.suppress(OSError):
            self._socket.sendall(NUMBER.pack(FAREWELL))
        self._socket.close()

    def close(self) -> None:
        """Let the server end, and wait until it has."""
        self.dismiss()
        if not self._wait(END_TIMEOUT + 2):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._wait(END_TIMEOUT)

    def _wait(self, seconds: float) -> bool:
        """Whether the server has ended, or ends within `seconds`."""
        deadline = time.monotonic() + seconds
        while self._exit_code is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self._exit_code = 0  # somebody else has waited for it
                break
            if pid:
                self._exit_code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                return False
            else:
                _wait_for_end(self.pid, deadline - time.monotonic())
        return True

    def _how_it_ended(self) -> str:
        if not self._wait(2):
            return "it closed its socket"
        code = self._exit_code or 0
        return f"killed by {signal_name(-code)}" if code < 0 else f"exit code {code}"


def _wait_for_end(pid: int, seconds: float) -> None:
    """Wait until a child has ended, or for a while."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        time.sleep(_LOOK)  # not Linux, or an old one
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(max(0.0, seconds) * 1000)
    finally:
        os.close(descriptor)


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two sockets, neither of them where a standard stream belongs.

    Raises:
        WorkerStartError: this process has too many files open.
    """
    try:
        first, second = socket.socketpair()
        return _above_standard_streams(first), _above_standard_streams(second)
    except OSError as error:
        reason = system_reason(error)
        raise WorkerStartError(f"a worker can't be started: {reason}") from None


def _above_standard_streams(given: socket.socket) -> socket.socket:
    if given.fileno() > 2:
        return given
    with given:  # the program was started with a stream closed
        return socket.socket(fileno=fcntl.fcntl(given.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _kernel_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1
