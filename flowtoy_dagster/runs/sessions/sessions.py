"""Which process carries a run, and whether it still lives.

A session is text: `host/machine/boot/namespace/pid/start`. Two processes see each other only where
boot and namespace are the same: containers may share a host name, and a host name may change. What
can't be seen is never taken for dead.
"""

from __future__ import annotations

import functools
import os
import socket
from enum import Enum
from pathlib import Path
from typing import NamedTuple

UNKNOWN = "?"
_INITIAL_NAMESPACE = "4026531836"
"""The inode of the PID namespace that Linux starts with: no container has it."""
_NAMESPACES = ("pid", "time")
_ENDED = ("Z", "X")
"""States of processes that have ended, and that nobody has waited for."""


class Carrier(Enum):
    """What is known of the process of a session."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"


class Session(NamedTuple):
    """A process, told apart from all others on any machine, before and after a restart.

    Attributes:
        host: the name of the machine; only for people.
        machine: an id of the machine that survives a restart.
        boot: an id of this start of the machine.
        namespace: which processes it can see.
        pid: its number in its namespace.
        start: when it started, in ticks since the machine did.
    """

    host: str
    machine: str
    boot: str
    namespace: str
    pid: str
    start: str

    @classmethod
    def parse(cls, text: str) -> Session | None:
        """The session that a text stands for; None where it is none."""
        parts = text.split("/")
        if len(parts) == len(cls._fields):
            return cls(*parts)
        if len(parts) == 4:  # as version 0.1 has written it
            host, boot, pid, start = parts
            return cls(host, UNKNOWN, boot, UNKNOWN, pid, start)
        return None

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"process {self.pid} on {self.host}"

    @property
    def process(self) -> int:
        """Its process, in its own namespace; 0 where that is not known."""
        return int(self.pid) if self.pid.isdigit() else 0


def session_id(pid: int | None = None) -> str:
    """The session of a process.

    Args:
        pid: a process that has not been waited for; this one by default.
    """
    pid = pid or os.getpid()
    return "/".join(Session(*_here(), str(pid), _start_of(pid) or UNKNOWN))


def carrier_of(text: str) -> Carrier:
    """Whether the process of a session lives, as far as that is certain from here."""
    session = Session.parse(text)
    if session is None or not session.process:
        return Carrier.UNKNOWN
    here = Session(*_here(), "", "")
    if UNKNOWN in (session.boot, here.boot):
        return Carrier.UNKNOWN
    if session.boot != here.boot:
        return Carrier.GONE if _was_started_anew(session, here) else Carrier.UNKNOWN
    if session.namespace == here.namespace != UNKNOWN:
        return _of_process(session)
    return Carrier.UNKNOWN


def _was_started_anew(session: Session, here: Session) -> bool:
    """Whether the machine of a session is this one, and was restarted since.

    Copies of a machine may share its id, so the name must fit too; and what a container says of
    its machine is the image's.
    """
    initial = session.namespace == here.namespace and here.namespace.startswith(_INITIAL_NAMESPACE)
    same = session.machine == here.machine != UNKNOWN and session.host == here.host
    return initial and same


def _of_process(session: Session) -> Carrier:
    start = _start_of(session.process)
    if start is None:
        return Carrier.GONE
    if UNKNOWN in (start, session.start):
        return Carrier.UNKNOWN  # there is one of that number, perhaps another
    return Carrier.ALIVE if start == session.start else Carrier.GONE


def _start_of(pid: int) -> str | None:
    """When a process started; None where there is none, `?` where that can't be seen."""
    if not os.path.isdir("/proc/self"):
        return _start_without_proc(pid)
    if _sees_own_processes():
        try:
            # The command, in parentheses, may hold anything.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if fields[0] in _ENDED else fields[19]
        except (OSError, IndexError):
            """It has ended, or /proc hides the processes of others."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        """There is one, of another user."""
    return UNKNOWN


def _start_without_proc(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return UNKNOWN


def _sees_own_processes() -> bool:
    """Whether /proc shows the processes of our own namespace."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def _here() -> tuple[str, str, str, str]:
    return socket.gethostname(), _machine(), _boot(), _namespace()


@functools.cache
def _machine() -> str:
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        if text := _first_word(path):
            return text
    return UNKNOWN


@functools.cache
def _boot() -> str:
    # Where there is no /proc, as on macOS, the machine is known by its name alone.
    return _first_word("/proc/sys/kernel/random/boot_id") or f"-{socket.gethostname()}"


def _namespace() -> str:
    if not os.path.isdir("/proc/self"):
        return "-"
    try:
        links = [os.readlink(f"/proc/self/ns/{kind}") for kind in _NAMESPACES]
    except OSError:
        return UNKNOWN
    return "-".join("".join(filter(str.isdigit, link)) for link in links)


def _first_word(path: str) -> str:
    try:
        words = Path(path).read_text().split()
    except (OSError, UnicodeDecodeError):
        return ""
    return words[0].replace("/", "-") if words else ""
