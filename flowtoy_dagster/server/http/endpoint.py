"""An endpoint: a port taken before anything else is done, and serving on it until a signal.

Ctrl-C, SIGTERM and a terminal that is closed end a server. A SIGHUP that is ignored, as `nohup` has
it, stays ignored.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import signal
import socket
import threading
from dataclasses import dataclass
from typing import Any

from typing_extensions import Self

from flowtoy_dagster.errors import UsageError, system_reason
from flowtoy_dagster.server.http.connections import server_options

LOCAL = "127.0.0.1"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 1
"""Seconds that requests have to end when the server is asked to."""
_BACKLOG = 1024
"""How many may wait until the server is there; readers come in bursts."""
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - what a user may ask for


@dataclass(frozen=True)
class Listener:
    """A socket that takes connections already; who comes early waits.

    Attributes:
        socket: for uvicorn.
        host: as it was given.
        address: what it is bound to.
        port: what it is bound to; never 0.
    """

    socket: socket.socket
    host: str
    address: str
    port: int

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.address.split("%")[0]).is_loopback

    @property
    def is_everywhere(self) -> bool:
        """Whether it takes connections to each of the machine's addresses."""
        return self.address in _WILDCARDS

    @property
    def url(self) -> str:
        """Where it is reached, without a path."""
        host = socket.gethostname() if self.is_everywhere else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def listen(host: str = LOCAL, port: int = 0, option: str = "--port") -> Listener:
    """Take a port.

    Args:
        host: a name or an address of this machine.
        port: 0 takes any that is free.
        option: where the port was given.

    Raises:
        UsageError: it is not available; says why.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"{port} is not a port: they go from 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or LOCAL, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError):
        raise UsageError(f"'{host}' is neither a name nor an address of this machine") from None
    bound = socket.socket(family, kind, protocol)
    try:
        # A port whose last connections are still being closed is free all the same.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise UsageError(_why(error, host, port, option)) from None
    name, number = bound.getsockname()[:2]
    return Listener(bound, host, name, number)


def _why(error: OSError, host: str, port: int, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use\n    {option} 0 takes one that is free"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"'{host}' is not an address of this machine"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} can't be used: only an administrator may\n    take one above 1023"
    return f"port {port} of {host} can't be used: {system_reason(error)}"


class Ending:
    """While it is entered, the signals that end a process are ours.

    Until `expect` is called they raise KeyboardInterrupt; from then on they set `wanted`, and who
    sends two of them does not want to wait.
    """

    def __init__(self) -> None:
        self.wanted = threading.Event()
        self.hurried = threading.Event()
        self._expected = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Explicitly: what a script starts in the background ignores SIGINT.
        self._previous = {
            number: signal.signal(number, self._hear)
            for number in SIGNALS
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def expect(self) -> None:
        """From now on somebody waits for `wanted`."""
        self._expected = True

    def _hear(self, *_: object) -> None:
        if self.wanted.is_set():
            self.hurried.set()
        self.wanted.set()
        if not self._expected:
            self._expected = True
            raise KeyboardInterrupt


def run_app(app: Any, listener: Listener) -> None:
    """Serve an ASGI application until SIGINT or SIGTERM."""
    import uvicorn

    options = server_options(
        log_config=None, log_level="critical", timeout_graceful_shutdown=GRACE, ws="none"
    )
    config = uvicorn.Config(app, **options)
    # It hands the signals on that it was ended by; that is the end which was asked for.
    with contextlib.suppress(KeyboardInterrupt), Ending():
        uvicorn.Server(config).run(sockets=[listener.socket])
