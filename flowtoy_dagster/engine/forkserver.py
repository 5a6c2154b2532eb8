"""The process from which workers are forked: imports once, runs nothing, has no threads.

It comes about in one of two ways. A parent that may have threads (a web server, a notebook)
starts a new Python that imports what workers need. The command line, which has none, imports
first and forks the server off before it opens anything: one import serves both.

The server forks a worker for each request and tells the parent how each worker ended. It has a
session of its own, so a Ctrl-C in the terminal reaches the parent alone, which then decides. When
the parent is gone, however it went, the server ends its workers and itself.
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
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flowtoy_dagster.errors import RunError

START_TIMEOUT = 60.0
"""Seconds for which the parent waits for the imports."""
END_TIMEOUT = 8.0
"""Seconds that workers have to end by themselves when the parent is gone."""
_NUMBER = struct.Struct("!I")
_FAREWELL = 0xFFFFFFFF
"""Sent instead of a worker's number by a parent that ends as it means to."""
_ORPHAN_GRACE = 2.0
"""Seconds between TERM and KILL for what a killed worker leaves behind."""
_PR_SET_CHILD_SUBREAPER = 36


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
        ours, theirs = socket.socketpair()
        request = json.dumps({"preload": list(preload), "entry": entry, "path": sys.path})
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise ForkServerError(f"the fork server could not be started: {error}") from None
        finally:
            theirs.close()
        # From here on we wait for the process ourselves, as for one that was forked.
        process.returncode = 0
        ours.sendall(request.encode() + b"\n")
        return cls(ours, process.pid, ready=False)

    @classmethod
    def fork_off(cls, preload: Sequence[str], entry: str) -> "ForkServer":
        """Import what workers need here, and fork the server off this process.

        Raises:
            ForkServerError: an import failed, or this process has threads.
        """
        start = _import(preload, entry)
        threads = threading.active_count()
        if threads != 1 or _kernel_threads() > 1:
            raise ForkServerError("a process with threads can't be forked safely")
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
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
            _Server(theirs, start).run()
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
                raise ForkServerError(message["failed"])
            if "ready" in message:
                self._ready = True
            elif "ended" in message:
                yield WorkerEnd(message["worker"], message["ended"], message["status"])
            else:
                yield WorkerStart(message["worker"], message["forked"])

    def close(self) -> None:
        """Let the server end; it first ends the workers that are left."""
        with contextlib.suppress(OSError):
            self._socket.sendall(_NUMBER.pack(_FAREWELL))
        self._socket.close()
        if not self._wait(END_TIMEOUT + 2):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._wait(END_TIMEOUT)

    def _wait(self, seconds: float) -> bool:
        """Whether the server has ended, or ends within `seconds`."""
        deadline = time.monotonic() + seconds
        pause = 0.001
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
                time.sleep(pause)
                pause = min(0.05, pause * 2)
        return True

    def _how_it_ended(self) -> str:
        if not self._wait(2):
            return "it closed its socket"
        code = self._exit_code or 0
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def main() -> None:
    """The server's side; never returns in the server, and ends a worker with `os._exit`."""
    control = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(control.fileno(), False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = json.loads(_read_line(control))
    sys.path[:] = request["path"]
    try:
        start = _import(request["preload"], request["entry"])
    except ForkServerError as error:
        _tell(control, failed=str(error))
        sys.exit(1)
    _tell(control, ready=os.getpid())
    _Server(control, start).run()


def _import(preload: Sequence[str], entry: str) -> Callable[[int], None]:
    """Import modules; gives the function that `entry` names."""
    module, function = entry.split(":")
    name = module
    # The collector finds nothing while modules load, and frozen objects stay shared after forks.
    gc.disable()
    try:
        for name in [*preload, module]:
            importlib.import_module(name)
    except BaseException as error:
        raise ForkServerError(
            f"workers can't import '{name}': {type(error).__name__}: {error}"
        ) from error
    finally:
        gc.freeze()
        gc.enable()
    found: Callable[[int], None] = getattr(sys.modules[module], function)
    return found


def _kernel_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


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
        signal.set_wakeup_fd(self._wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        _adopt_orphans()
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
            data, descriptors, _, _ = socket.recv_fds(self._control, _NUMBER.size, 1)
        except OSError:
            return False
        if len(data) < _NUMBER.size or not descriptors:
            self._farewell = data == _NUMBER.pack(_FAREWELL)
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
        except KeyboardInterrupt:
            status = 128 + signal.SIGINT
        except BaseException:  # noqa: BLE001 - the last place that can tell of it
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
                self._doomed.pop(pid, None)
                number = self._workers.pop(pid, None)
                if number is not None:
                    code = os.waitstatus_to_exitcode(status)
                    _tell(self._control, ended=pid, worker=number, status=code)
                    if code != 0:
                        self._doom_orphans()

    def _doom_orphans(self) -> None:
        """TERM to what a killed worker's commands have left to us; KILL follows."""
        for pid in _children():
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
        if self._farewell:
            return  # what a flow has left running in a run that ended well is its own affair
        self._doom_orphans()
        while self._doomed:
            time.sleep(0.05)
            self._reap()
            self._end_doomed()


def _adopt_orphans() -> None:
    """Become the parent of what workers leave behind, where the system knows of such a thing."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def _signal_all(pid: int, number: int) -> None:
    """Send a signal to a process and, where it is not ours, to its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        group = os.getpgid(pid)
        if group != os.getpgid(0):
            os.killpg(group, number)
        os.kill(pid, number)


if __name__ == "__main__":
    main()
