"""One command as a process group: fed, read within bounds, and ended whole."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

KILL_AFTER = 5.0
"""Seconds between TERM and KILL."""
LINGER = 1.0
"""Seconds for which the output of a command's leftover children is still read."""
_CHUNK = 1 << 16
_POLL = 0.2

Tee = Callable[[str, bytes], None]


class Processes:
    """The commands that run now, each by its process group, which has its first process's id."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: frozenset[int] = frozenset()

    def add(self, group: int) -> None:
        """A command has started."""
        with self._lock:
            self._groups |= {group}

    def discard(self, group: int) -> None:
        """A command has ended, and nothing of its group is left to end."""
        with self._lock:
            self._groups -= {group}

    def end_all(self, grace: float) -> None:
        """End every command: TERM, and KILL after `grace` seconds. Safe in a signal handler."""
        groups = self._groups
        for group in groups:
            _signal_group(group, signal.SIGTERM if grace else signal.SIGKILL)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and any(_signal_group(group, 0) for group in groups):
            time.sleep(0.05)
        for group in groups:
            _signal_group(group, signal.SIGKILL)


@dataclass(frozen=True)
class Finished:
    """How a command ended.

    Attributes:
        returncode: negative where a signal ended it.
        ended_because: why we ended it (`timed out after 2 s`), or None.
    """

    pid: int
    returncode: int
    stdout: bytes
    stderr: bytes
    ended_because: str | None = None


def run_command(
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    variables: Mapping[str, str] | None = None,
    cwd: str | None = None,
    timeout: float | None = None,
    max_output_bytes: int,
    tee: Tee | None = None,
    deadline: float | None = None,
    processes: Processes | None = None,
) -> Finished:
    """Run a command to its end.

    Args:
        argv: the program and its arguments.
        stdin: what it reads; nothing by default.
        variables: added to the environment.
        cwd: the working directory; ours by default.
        timeout: seconds, after which its process group is ended.
        max_output_bytes: the most that stdout and stderr may each have.
        tee: called with `stdout` or `stderr` and each piece of it as it comes.
        deadline: a moment of the monotonic clock by which it is ended, too.
        processes: is told of the command while it runs.

    Raises:
        OSError: it could not be started.
    """
    process = subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env={**os.environ, **variables} if variables else None,
        start_new_session=True,
        bufsize=0,
    )
    running = processes or Processes()
    running.add(process.pid)
    conversation = _Conversation(process, stdin, max_output_bytes, tee)
    try:
        reason = conversation.run(timeout, deadline)
        if reason is not None:
            conversation.end_group()
        return Finished(
            process.pid,
            process.wait(),
            bytes(conversation.received["stdout"]),
            bytes(conversation.received["stderr"]),
            reason,
        )
    except BaseException:
        conversation.end_group()
        raise
    finally:
        running.discard(process.pid)
        conversation.close()


class _Conversation:
    """The exchange with one process over its three pipes."""

    def __init__(
        self, process: subprocess.Popen[bytes], stdin: bytes | None, limit: int, tee: Tee | None
    ) -> None:
        self.process = process
        self.received = {"stdout": bytearray(), "stderr": bytearray()}
        self._limit = limit
        self._tee = tee
        self._unsent = memoryview(stdin or b"")
        self._selector = selectors.DefaultSelector()
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            assert pipe is not None
            self._selector.register(pipe, selectors.EVENT_READ, name)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            self._selector.register(process.stdin, selectors.EVENT_WRITE, "stdin")

    def run(self, timeout: float | None, latest: float | None) -> str | None:
        """Exchange until the process has ended; returns why it must be ended, if it must."""
        began = time.monotonic()
        ends = [latest] if latest is not None else []
        if timeout is not None:
            ends.append(began + timeout)
        deadline = min(ends, default=None)
        if deadline is not None:
            timeout = round(deadline - began, 3)
        quiet_until: float | None = None
        while self._selector.get_map():
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return f"timed out after {timeout:g} s"
            if self.process.poll() is not None:
                # A child that it left behind may hold the pipes open for ever.
                quiet_until = quiet_until or now + LINGER
                if now >= quiet_until:
                    break
            wait = _POLL if deadline is None else min(_POLL, deadline - now)
            for key, _ in self._selector.select(wait):
                name: str = key.data
                if name == "stdin":
                    self._send(key.fileobj)  # type: ignore[arg-type]
                elif not self._receive(name, key.fileobj):  # type: ignore[arg-type]
                    return f"printed more than {self._limit} bytes on {name}"
        return self._wait(deadline, timeout)

    def _wait(self, deadline: float | None, timeout: float | None) -> str | None:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            self.process.wait(left)
        except subprocess.TimeoutExpired:
            return f"timed out after {timeout:g} s"
        return None

    def _send(self, pipe: IO[bytes]) -> None:
        try:
            sent = os.write(pipe.fileno(), self._unsent[:_CHUNK])
            self._unsent = self._unsent[sent:]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._unsent = memoryview(b"")
        if not self._unsent:
            self._drop(pipe)

    def _receive(self, name: str, pipe: IO[bytes]) -> bool:
        chunk = os.read(pipe.fileno(), _CHUNK)
        if not chunk:
            self._drop(pipe)
            return True
        received = self.received[name]
        received += chunk
        if self._tee is not None:
            self._tee(name, chunk)
        return len(received) <= self._limit

    def _drop(self, pipe: IO[bytes]) -> None:
        self._selector.unregister(pipe)
        pipe.close()

    def end_group(self) -> None:
        """TERM to the whole process group, and KILL to what is left of it."""
        if not _signal_group(self.process.pid, signal.SIGTERM):
            self.process.wait()
            return
        deadline = time.monotonic() + KILL_AFTER
        while time.monotonic() < deadline:
            self.process.poll()
            if not _signal_group(self.process.pid, 0):
                break
            time.sleep(0.02)
        _signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._selector.close()


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; False where nothing of it is left."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def signal_name(number: int) -> str:
    """`signal 9 (SIGKILL)`."""
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
