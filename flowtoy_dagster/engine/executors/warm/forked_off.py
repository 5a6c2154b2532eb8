"""Workers that a server forks, and a server that was forked off for the pool that comes next."""

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from flowtoy_dagster.engine.executors.warm.forkserver_client import (
    ForkServer,
    ForkServerError,
    socket_pair,
)
from flowtoy_dagster.engine.storage.address import modules_to_preload
from flowtoy_dagster.store.shared.shared_files import modules_of_files

PRELOAD = "flowtoy_dagster.engine.executors.warm.preload"
DEFINITIONS = "flowtoy_dagster.definitions"
"""What workers rebuild jobs by; a name, because it stands on a floor below this one."""
ENTRY = "flowtoy_dagster.engine.executors.warm.worker:main"


@dataclass
class WorkerHandle:
    """A worker, as the process knows it that gives it steps."""

    number: int
    connection: Connection
    surroundings: Any = None
    setup: Any = None
    pid: int = 0
    step_key: str | None = None
    retiring: bool = False
    ended: int | None = None

    def settle(self, surroundings: Any) -> None:
        """Tell the worker where it runs steps: the first that it waits for."""
        self.surroundings = surroundings
        with contextlib.suppress(OSError):
            self.connection.send(surroundings)


def start_worker(server: ForkServer, number: int) -> WorkerHandle:
    """Have a worker forked.

    Args:
        server: what forks it.
        number: by which the server's news call it.

    Raises:
        ForkServerError: it can't be had.
    """
    ours, theirs = socket_pair()
    try:
        server.fork(number, theirs)
    except ForkServerError:
        ours.close()
        raise
    finally:
        theirs.close()
    return WorkerHandle(number, Connection(ours.detach()))


@dataclass
class ForkedOff:
    """A server for the next pool, and the workers that it has forked for it already."""

    server: ForkServer
    workers: list[WorkerHandle] = field(default_factory=list)

    def fill(self, count: int) -> None:
        """Have workers forked until there are so many; none stays where there is no room."""
        try:
            while len(self.workers) < count:
                self.workers.append(start_worker(self.server, len(self.workers)))
        except ForkServerError:
            # The pool will meet it, too, and reports it. The run is created with what they held.
            for worker in self.workers:
                worker.connection.close()


_forked_off: list[ForkedOff] = []
_ending: ContextVar[list[ForkServer] | None] = ContextVar("ending", default=None)


def fork_off_server(modules: Iterable[str] = ()) -> None:
    """Import what a run needs, and fork the next pool's server off while there are no threads.

    Only for a process that is ours from its start, before it opens anything.

    Args:
        modules: imported besides what every run needs.
    """
    if not _forked_off:
        _forked_off.append(ForkedOff(ForkServer.fork_off((*_modules(), *modules), ENTRY)))


def spawn_server() -> ForkServer:
    """Start a new Python that imports what a run needs, as the server.

    Raises:
        ForkServerError: it could not be started.
    """
    return ForkServer.spawn(_modules(), ENTRY)


def _modules() -> tuple[str, ...]:
    """What every run needs."""
    return (PRELOAD, DEFINITIONS, *modules_to_preload(), *modules_of_files())


def fork_workers(count: int) -> None:
    """Have the next pool's workers forked, where a server was forked off for it."""
    for forked in _forked_off:
        forked.fill(count)


def settle_workers(surroundings: Any) -> None:
    """Have the next pool's workers on their way, before what they will run is known.

    Args:
        surroundings: where they run steps; a pool whose setups have others does not take them.
    """
    for forked in _forked_off:
        for worker in forked.workers:
            worker.settle(surroundings)


def forget_server() -> None:
    """Let go of the server in a process that was forked after it, and is not the one it serves."""
    for forked in _forked_off:
        forked.server.forget()
        for worker in forked.workers:
            worker.connection.close()
    _forked_off.clear()


@contextlib.contextmanager
def workers_end_last() -> Iterator[None]:
    """Let workers end while a run's end is stored and shown; the block's end waits for them.

    That ten processes end takes as long as all the rest of the end.
    """
    servers: list[ForkServer] = []
    before = _ending.set(servers)
    try:
        yield
    finally:
        _ending.reset(before)
        for server in servers:
            server.close()


def end_server(server: ForkServer) -> None:
    """Let a server end that has only idle workers, and wait for it now or at last."""
    servers = _ending.get()
    if servers is None:
        server.close()
    else:
        server.dismiss()
        servers.append(server)


def take_forked_off() -> ForkedOff | None:
    """What was forked off for the pool that is made now, if anything was."""
    return _forked_off.pop() if _forked_off else None
