"""One command with all that it starts: fed, read within bounds, and ended whole."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, NamedTuple

from flowtoy_dagster.machine.interrupts import uninterrupted
from flowtoy_dagster.providers.process_tree import ProcessTree, end_trees, started

KILL_AFTER = 5.0
"""Seconds between TERM and KILL."""
LINGER = 1.0
"""Seconds for which the output of a command's leftover children is still read."""
_CHUNK = 1 << 16
_POLL = 0.2

Tee = Callable[[str, bytes], None]


class Processes:
    """The commands that run now, each with all that it has started."""

    def __init__(self) -> None:
        # A signal's handler may come while its own thread holds it.
        self._lock = threading.RLock()
        self._trees: frozenset[ProcessTree] = frozenset()
        self._closed = False

    def start(
        self, start: Callable[[], subprocess.Popen[bytes]]
    ) -> tuple[subprocess.Popen[bytes], ProcessTree]:
        """Start a command: from its first moment `end_all` knows of it.

        Args:
            start: starts it, as the leader of a session and of a process group.

        Raises:
            OSError: it could not be started, or nothing may start any more.
        """
        with self._lock:
            if self._closed:
                raise ChildProcessError("its process is being ended")
            process, tree = started(start)
            self._trees |= {tree}
        return process, tree

    def discard(self, tree: ProcessTree) -> None:
        """A command has ended, and nothing of it is left to end."""
        with self._lock:
            self._trees -= {tree}

    def end_all(self, grace: float) -> None:
        """End every command: TERM, and KILL after `grace` seconds. Safe in a signal handler."""
        with self._lock:
            trees = self._trees
        end_trees(trees, grace)

    def close(self, grace: float) -> None:
        """The same, and none starts any more."""
        with self._lock:
            self._closed = True
        self.end_all(grace)


class Finished(NamedTuple):
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
        timeout: seconds, after which all that it has started is ended.
        max_output_bytes: the most that stdout and stderr may each have.
        tee: called with `stdout` or `stderr` and each piece as it comes.
        deadline: a moment of the monotonic clock by which it is ended.
        processes: holds the command while it runs.

    Raises:
        OSError: it could not be started.
    """
    running = processes or Processes()
    conversation: _Conversation | None = None
    try:
        # An interrupt in the middle would leave a command that is not registered.
        with uninterrupted():
            process, tree = running.start(lambda: _start(argv, stdin is not None, variables, cwd))
            conversation = _Conversation(process, tree, stdin, max_output_bytes, tee)
        return conversation.to_the_end(timeout, deadline)
    except BaseException:
        if conversation is not None:
            conversation.end()
        raise
    finally:
        if conversation is not None:
            running.discard(conversation.tree)
            conversation.close()


def _start(
    argv: Sequence[str],
    feeds: bool,
    variables: Mapping[str, str] | None,
    cwd: str | None,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [_octets(argument) for argument in argv],
        stdin=subprocess.PIPE if feeds else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=_environment(variables) if variables else None,
        start_new_session=True,
        bufsize=0,
    )


def _octets(value: str) -> bytes:
    """What a program gets of a text; UTF-8 where the locale can't write it."""
    try:
        return os.fsencode(value)
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape")


def _environment(variables: Mapping[str, str]) -> dict[bytes, bytes]:
    ours = {_octets(name): _octets(value) for name, value in variables.items()}
    return {**os.environb, **ours}


class _Conversation:
    """The exchange with one process over its three pipes."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        tree: ProcessTree,
        stdin: bytes | None,
        limit: int,
        tee: Tee | None,
    ) -> None:
        self.process = process
        self.tree = tree
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

    def to_the_end(self, timeout: float | None, latest: float | None) -> Finished:
        """Exchange, and end the process where it must be ended."""
        reason = self._exchange(timeout, latest)
        if reason is not None:
            self.end()
        out, err = map(bytes, self.received.values())
        return Finished(self.process.pid, self.process.wait(), out, err, reason)

    def _exchange(self, timeout: float | None, latest: float | None) -> str | None:
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

    def end(self) -> None:
        """TERM to all that the command has started, and KILL to what is left of it."""
        try:
            self.tree.end(KILL_AFTER)
        except BaseException:
            # Interrupted once more: nothing of it may be left all the same.
            with uninterrupted(), contextlib.suppress(subprocess.TimeoutExpired):
                self.tree.end(0)
                self.process.wait(LINGER)
            raise
        self.process.wait()

    def close(self) -> None:
        """Nothing of the command is left to end."""
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._selector.close()
        self.tree.forget()


def signal_name(number: int) -> str:
    """`signal 9 (SIGKILL)`; real-time signals by their distance: `signal 40 (SIGRTMIN+6)`."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        first = getattr(signal, "SIGRTMIN", None)
        if first is None or not first < number < signal.SIGRTMAX:
            return f"signal {number}"
        name = f"SIGRTMIN+{number - first}"
    return f"signal {number} ({name})"
