"""What commands that serve something share; the status API during a run, and after it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from flowtoy_dagster.errors import UsageError, system_reason
from flowtoy_dagster.terminal import say

if TYPE_CHECKING:
    from flowtoy_dagster.server.http.endpoint import Listener
    from flowtoy_dagster.server.sidecar import StatusServer

LOCAL = "127.0.0.1"
DEFAULT_PORT = 8000


class Door(NamedTuple):
    """Where something is served, and who is let in.

    Attributes:
        listener: the port, taken already.
        token: what visitors must know; nothing, where it is None.
        hosts: more names by which the server may be reached.
    """

    listener: Listener
    token: str | None = None
    hosts: Sequence[str] = ()

    @classmethod
    def take(
        cls,
        host: str,
        port: int,
        token: bool | None = None,
        hosts: Sequence[str] | None = None,
        option: str = "--port",
        file: Path | None = None,
    ) -> Door:
        """Take a port.

        Args:
            host: the address.
            port: 0 is any that is free.
            token: whether visitors need one; they do by default, since every user of a machine
                can connect to its 127.0.0.1.
            hosts: more names by which the server may be reached.
            option: where the port was given.
            file: what `publish` will write.

        Raises:
            UsageError: it can't be had, or the file can't be written.
        """
        from flowtoy_dagster.server.http.endpoint import listen
        from flowtoy_dagster.server.webui import new_token

        if file is not None:
            _check_file(file)
        listener = listen(host, port, option)
        return cls(listener, None if token is False else new_token(), tuple(hosts or ()))

    def url(self, path: str) -> str:
        """The address of a path, with the token."""
        return f"{self.listener.url}{path}" + (f"?token={self.token}" if self.token else "")

    def publish(self, file: Path | None) -> None:
        """Write the address, with the token, to a file that only its owner can read.

        Raises:
            UsageError: it can't be written.
        """
        if file is None:
            return
        from flowtoy_dagster.store.files import write_whole

        _check_file(file)
        try:
            write_whole(file.absolute(), f"{self.url('/')}\n".encode())
        except OSError as error:
            reason = system_reason(error)
            raise UsageError(f"can't write '{file}': {reason}") from None

    def warn(self, what: str = "see the run and its outputs") -> None:
        """Tell what others can do, where they can come."""
        if not self.listener.is_local:
            who = "who has the URL" if self.token else "everybody"
            tell(
                f"warning: other machines can reach this server: {who} can {what}\n"
                "    what is sent is not encrypted; `ssh -L` to a server on 127.0.0.1 is safer"
            )


def _check_file(file: Path) -> None:
    """Check that a file can be written, before anything happens.

    Raises:
        UsageError: it can't.
    """
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise UsageError(f"can't write '{file}': it is not a regular file")
    try:
        with tempfile.TemporaryFile(dir=file.absolute().parent):
            """Its folder is there, and can be written."""
    except OSError as error:
        raise UsageError(f"can't write '{file}': {system_reason(error)}") from None


def tell(text: str) -> None:
    """Print to stderr at once, where it can be written."""
    say(text)


def status_server(door: Door) -> StatusServer:
    """A process that serves the status of a run, next to the one that executes it.

    To be called after the workers' server was forked off, and before there are threads.
    """
    from flowtoy_dagster.engine.executors.warm.forked_off import forget_server
    from flowtoy_dagster.server.sidecar import StatusServer, serve_run

    serve = partial(serve_run, token=door.token, hosts=door.hosts)
    return StatusServer.fork_off(door.listener, serve, forget_server)


@contextlib.contextmanager
def served(door: Door | None) -> Iterator[Callable[[str], None] | None]:
    """Serve the status of a run while it goes on, and after it until Ctrl-C.

    Enter it after the workers' server was forked off, and before there are threads. A run that is
    interrupted is over at once.

    Args:
        door: where; nothing is served without one.

    Yields:
        what is to be called with the id of the run.
    """
    if door is None:
        yield None
        return
    from flowtoy_dagster.server.http.endpoint import Ending

    ended = None
    with status_server(door) as server:
        try:
            yield server.show
        except typer.Exit as failed:
            ended = failed
        with Ending() as ending:
            ending.expect()
            if not server.has_ended:
                tell("the status is served until Ctrl-C")
            if not server.wait(ending.wanted):
                # The exit code is the run's all the same.
                tell("the process that served the status has ended: nothing is served any more")
    if ended is not None:
        raise ended


def status_door(port: int | None, token: bool | None, address_file: Path | None) -> Door | None:
    """Where a run's status is served, as its command's options say; None where it is not.

    Raises:
        UsageError: the port can't be had, or options of it are given without it.
    """
    if port is None:
        if token is not None or address_file is not None:
            name = "--address-file" if address_file is not None else "--token and --no-token"
            raise UsageError(f"{name}: nothing is served\n    add --status-port PORT")
        return None
    door = Door.take(LOCAL, port, token, option="--status-port")
    door.publish(address_file)
    tell(f"status at {door.url('/status')}")
    return door
