"""Processes of flowtoy that are forked off one that has imported it, instead of started anew."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowtoy_dagster.engine.executors.warm.forkserver_client import ForkServer, socket_pair

_PROGRAM = Path(__file__).parent.parent / "warm_command.py"
_SET_SUBREAPER, _GET_SUBREAPER = 36, 37
CAN_ADOPT = sys.platform == "linux"
"""Whether a process can become the parent of its children's children."""


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What stdout holds, parsed."""
        return json.loads(self.stdout)


class Commands:
    """Commands of flowtoy, each a fork of one process that has imported it.

    `START_PYTHON` in the environment of the tests makes each start Python, as a user's do.

    Args:
        environment: of the process, which is started when it is needed first.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._adoption = threading.Lock()

    def _ask(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        """Send a request, with the descriptors that it is about."""
        with self._lock:
            if self._control is None:
                self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with theirs:
                    self._process = subprocess.Popen(
                        [sys.executable, str(_PROGRAM), str(theirs.fileno())],
                        pass_fds=[theirs.fileno()],
                        stdin=subprocess.DEVNULL,
                        env=self._environment,
                    )
        socket.send_fds(self._control, [json.dumps(request).encode()], list(descriptors))

    def fits(self, env: Mapping[str, str]) -> bool:
        """Whether nothing in an environment is for Python's start, which is past here."""
        return "START_PYTHON" not in env and all(
            env.get(name) == self._environment.get(name)
            for name in {*env, *self._environment}
            if name.startswith(("PYTHON", "LC_", "LANG")) and name != "PYTHONPATH"
        )

    def run(
        self, arguments: list[str], text: str | None, cwd: Path, env: dict[str, str], timeout: float
    ) -> Finished:
        """Run a command to its end."""
        with ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
            files[0].write((text or "").encode())
            files[0].seek(0)
            ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
            descriptors = [file.fileno() for file in (*files, theirs)]
            self._ask({"arguments": arguments, "cwd": str(cwd), "env": env}, descriptors)
            theirs.close()
            answer = stack.enter_context(ours.makefile())
            pid = int(answer.readline())
            ours.settimeout(timeout)
            try:
                code = int(answer.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise
            # Not `read`: what a command has left running may still write where the file stands.
            sizes = [os.fstat(file.fileno()).st_size for file in files]
            _, stdout, stderr = map(os.pread, descriptors, sizes, (0, 0, 0))
        return Finished(code, stdout.decode(), stderr.decode())

    def fork_server(self, preload: Sequence[str], entry: str) -> ForkServer:
        """A fork server as `ForkServer.spawn` gives it, a child of this process."""
        control, theirs = socket_pair()
        with ExitStack() as stack:
            stack.enter_context(theirs)
            null = os.open(os.devnull, os.O_RDONLY)
            stack.callback(os.close, null)
            answer, told = (stack.enter_context(end) for end in socket.socketpair())
            request = {"server": True, "cwd": os.getcwd(), "env": dict(os.environ)}
            with self._adoption, _adopting():
                self._ask(request, [null, 1, 2, told.fileno(), theirs.fileno()])
                told.close()
                pid = int(answer.makefile().readline())
        path = [place for place in sys.path if isinstance(place, str)]
        wanted = {"preload": list(preload), "entry": entry, "path": path}
        control.sendall(json.dumps(wanted).encode() + b"\n")
        return ForkServer(control, pid, ready=False)

    def close(self) -> None:
        """Let the process end."""
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.wait(120)


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """While the block runs, children of this process that end leave theirs to it."""
    library, before = ctypes.CDLL(None, use_errno=True), ctypes.c_int()
    library.prctl(_GET_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    library.prctl(_SET_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        library.prctl(_SET_SUBREAPER, before.value, 0, 0, 0)
