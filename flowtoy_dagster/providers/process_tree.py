"""All processes that a command has started: also those in groups and sessions of their own.

`timeout`, `sudo`, `setsid` and shells with job control leave the command's process group, so it is
not enough. A process belongs to a command that is its ancestor, or that leads its session; and in
a worker, which adopts orphans, so does a child that came while the command ran, unless another
command ran at that time, too: then only its session shows whose it is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from flowtoy_dagster.providers.guard import GUARD

if TYPE_CHECKING:
    import subprocess

    import psutil

_PR_SET_CHILD_SUBREAPER = 36
_LOOK = 0.05
_LEFT_GRACE = 2.0
"""Seconds between TERM and KILL for commands whose process was killed."""

_running: dict[int, ProcessTree] = {}
"""The commands that run now, by their process."""
_lock = threading.RLock()
"""Held while a command is started or ends: several threads may do that."""
_adopted: set[int] = set()
_adopts = False
"""Whether this process is the parent of what its commands leave behind; set once, in workers."""


def adopt_orphans() -> None:
    """Become the parent of what children leave behind, where the system knows of such a thing."""
    global _adopts  # noqa: PLW0603 - what a process is, it is for good
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        _adopts = True


def children() -> list[int]:
    """The child processes of this one, where the system knows."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        # The system has them by the thread that has started each.
        for thread in os.listdir("/proc/self/task"):
            found += map(int, _read(f"/proc/self/task/{thread}/children").split())
    return found


def _read(path: str) -> bytes:
    """A file of the system's; for a step there are six, and file objects take twice as long."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(descriptor, 1 << 16), b""))
    finally:
        os.close(descriptor)


def started(
    start: Callable[[], subprocess.Popen[bytes]]
) -> tuple[subprocess.Popen[bytes], ProcessTree]:
    """Start a command; gives it, and what belongs to it.

    Args:
        start: starts it, as the leader of a session and of a process group.
    """
    with _lock:
        before = children()
        process = start()
        if not _adopts:
            GUARD.begin(process.pid)
        tree = ProcessTree(process.pid, before)
        _running[tree.pid] = tree
        _leave_to_sessions()
    return process, tree


def _leave_to_sessions() -> None:
    """What children there are where several commands run is no sign of whose they are."""
    if len(_running) > 1:
        now = frozenset(children())
        for tree in _running.values():
            tree.disown(now)


class ProcessTree:
    """What one command has started.

    Args:
        pid: the command, which leads a session and a process group.
        before: the children that this process had before the command was started.
    """

    def __init__(self, pid: int, before: Iterable[int]) -> None:
        self.pid = pid
        self._before = frozenset(before)

    def disown(self, others: frozenset[int]) -> None:
        """These children are somebody else's, unless they are in the command's session."""
        self._before |= others

    def end(self, grace: float) -> None:
        """TERM to all of it, and KILL to what is left after `grace` seconds."""
        if grace:
            self.signal(signal.SIGTERM)
            deadline = time.monotonic() + grace
            while time.monotonic() < deadline and self.members():
                time.sleep(_LOOK)
        # What is killed may have started another in the meantime.
        for _ in range(10):
            if not self.signal(signal.SIGKILL):
                return
            time.sleep(0.01)

    def signal(self, number: int) -> int:
        """Send a signal to all of it; gives to how many processes."""
        import psutil

        members = self.members()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
        for process in members:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getpgid(process.pid) != self.pid:  # the others have it already
                    process.send_signal(number)
        return len(members)

    def members(self) -> list[psutil.Process]:
        """The processes of it that live."""
        import psutil

        roots = {self.pid, *self._adopted_children()}
        roots.update(pid for pid in psutil.pids() if _session_of(pid) == self.pid)
        roots.discard(os.getpid())
        found: dict[int, psutil.Process] = {}
        for pid in roots:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                for each in (process, *process.children(recursive=True)):
                    found[each.pid] = each
        return [process for process in found.values() if _lives(process)]

    def _adopted_children(self) -> set[int]:
        if not _adopts:
            return set()
        with _lock:
            commands = set(_running)
            new = set(children()) - self._before - commands - {self.pid}
            if commands - {self.pid}:
                new = {pid for pid in new if _session_of(pid) == self.pid}
            _adopted.update(new)
        return new

    def forget(self) -> None:
        """The command has ended: wait for what was adopted of it and has ended, too."""
        with _lock:
            self._adopted_children()
            _leave_to_sessions()
            _running.pop(self.pid, None)
            if not _adopts:
                GUARD.end(self.pid)
            for pid in list(_adopted - set(_running)):
                with contextlib.suppress(ChildProcessError):
                    if os.waitpid(pid, os.WNOHANG)[0] == 0:
                        continue
                _adopted.discard(pid)


def end_trees(trees: Collection[ProcessTree], grace: float) -> None:
    """End several commands: TERM, and KILL to what is left after `grace` seconds."""
    if grace:
        for tree in trees:
            tree.signal(signal.SIGTERM)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and any(tree.members() for tree in trees):
            time.sleep(_LOOK)
    for tree in trees:
        tree.end(0)


def end_left(pids: Iterable[str]) -> None:
    """End the commands of a process that was killed, in the guard that it had."""
    end_trees([ProcessTree(int(pid), ()) for pid in pids], _LEFT_GRACE)


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _lives(process: psutil.Process) -> bool:
    import psutil

    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
