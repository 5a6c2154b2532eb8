"""Which process carries a run, and whether it still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def session_id(pid: int | None = None) -> str:
    """A process, told apart from all others on any machine, before and after a restart.

    Args:
        pid: a process that has not been waited for; this one by default.
    """
    pid = pid or os.getpid()
    return _session_of(pid) or f"{socket.gethostname()}/?/{pid}/?"


def pid_of(session: str) -> int | None:
    """The process of a session, if it is on this machine and still lives."""
    try:
        pid = int(session.split("/")[2])
    except (IndexError, ValueError):
        return None
    return pid if _session_of(pid) == session else None


def is_here(session: str) -> bool:
    """Whether a session was started on this machine."""
    return session.split("/", maxsplit=1)[0] == socket.gethostname()


def _session_of(pid: int) -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # The start time is the 20th field after the command, which may hold anything.
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return _session_without_proc(pid)
    return f"{socket.gethostname()}/{boot}/{pid}/{started}"


def _session_without_proc(pid: int) -> str | None:
    if os.path.isdir("/proc/self"):
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return f"{socket.gethostname()}/-/{pid}/-"
