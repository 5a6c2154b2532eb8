"""What `run --status-port` and `serve` share: the status API beside a run, and after it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from flowtoy_dagster.server.listening import Listener


LOCAL = "127.0.0.1"


def listen_and_tell(host: str, port: int, token: str | None = None) -> Listener:
    """Take the port before anything is started, and tell the address."""
    from flowtoy_dagster.server.listening import listen

    listener = listen(host, port)
    print(f"status at {listener.url}/status", file=sys.stderr, flush=True)
    return listener


@contextlib.contextmanager
def served(
    listener: Listener | None, token: str | None = None
) -> Iterator[Callable[[str], None] | None]:
    """Serve the status of a run while it goes on, and after it until Ctrl-C.

    Enter it after the workers' server was forked off, and before there are threads. A run that is
    interrupted is over at once.

    Args:
        listener: where; nothing is served without one.
        token: what readers must know.

    Yields:
        what is to be called with the id of the run.
    """
    if listener is None:
        yield None
        return
    from flowtoy_dagster.engine.pool import forget_server
    from flowtoy_dagster.server.beside import StatusServer, serve_run

    ended = None
    with StatusServer.fork_off(listener, partial(serve_run, token=token), forget_server) as server:
        try:
            yield server.show
        except typer.Exit as failed:
            ended = failed
        print("the status is served until Ctrl-C", file=sys.stderr, flush=True)
        server.wait()
    if ended is not None:
        raise ended
