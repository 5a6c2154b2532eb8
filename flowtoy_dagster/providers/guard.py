"""Ends what a process has started when that process is killed and can't do it any more.

A process that starts commands has one guard: a small Python that holds the other end of a pipe. It
is told of each command that begins and ends; when the pipe closes, it ends those that are left. It
has a session of its own, so no Ctrl-C reaches it, and none of the process's variables.

Workers need none: what forked them adopts and ends what they leave behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading

_PROGRAM = """
import os, sys
path, left = sys.stdin.readline(), set()
for line in sys.stdin:
    sign, pid = line.split()
    (left.add if sign == "+" else left.discard)(pid)
if left:
    code = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    code += "from flowtoy_dagster.providers.process_tree import end_left; end_left(sys.argv[2:])"
    os.execv(sys.executable, [sys.executable, "-I", "-c", code, path, *left])
"""
"""It imports nothing until there is something to end."""


class Guard:
    """The guard of this process, which is started with the first command."""

    def __init__(self) -> None:
        # A signal's handler may come while its own thread holds it.
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_started = False

    def begin(self, pid: int) -> None:
        """A command has begun, as the leader of a session and of a process group."""
        with self._lock:
            if not self._is_started:
                self._is_started = True
                with contextlib.suppress(OSError):  # commands run without it, too
                    self._process = _started()
                    self._tell(json.dumps([os.path.abspath(path) for path in sys.path]))
            self._tell(f"+ {pid}")

    def end(self, pid: int) -> None:
        """A command has ended, and nothing of it is left."""
        with self._lock:
            self._tell(f"- {pid}")

    def forget(self) -> None:
        """Let go of the guard in a process that was forked from the one it guards."""
        process, self._lock = self._process, threading.RLock()
        self._process, self._is_started = None, False
        if process is not None and process.stdin is not None:
            process.returncode = 0  # it is no child of this process
            process.stdin.close()

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it was killed
                self._process.stdin.write(f"{line}\n".encode())


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={},
        start_new_session=True,
        bufsize=0,
    )


GUARD = Guard()
os.register_at_fork(after_in_child=GUARD.forget)
