"""Workers that a server forks, and a server that was forked off for the pool that comes next."""

import contextlib
from collections.abc import Iterable
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
    surroundings: Any
    setup: Any = None
    pid: int = 0
    step_key: str | None = None
    retiring: bool = False
    ended: int | None = None


def start_worker(server: ForkServer, number: int, surroundings: Any) -> WorkerHandle:
    """Have a worker forked.

    Args:
        server: what forks it.
        number: by which the server's news call it.
        surroundings: sent to it first.

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
    worker = WorkerHandle(number, Connection(ours.detach()), surroundings)
    with contextlib.suppress(OSError):
        worker.connection.send(surroundings)
    return worker


@dataclass
class ForkedOff:
    """A server for the next pool, and the workers that it has forked for it already."""

    server: ForkServer
    workers: list[WorkerHandle] = field(default_factory=list)


_forked_off: list[ForkedOff] = []


def fork_off_server(modules: Iterable[str] = ()) -> None:
    """Import what a run needs, and fork the next pool's server off while there are no threads.

    Only for a process that is ours from its start, before it opens anything.

    Args:
        modules: imported besides what every run needs.
    """
    if not _forked_off:
        preload = (PRELOAD, DEFINITIONS, *modules_to_preload(), *modules_of_files(), *modules)
        _forked_off.append(ForkedOff(ForkServer.fork_off(preload, ENTRY)))


def start_workers(count: int, surroundings: Any) -> None:
    """Have the next pool's workers on their way, before what they will run is known.

    Args:
        count: how many, where a server was forked off for the next pool.
        surroundings: sent to each first; a pool whose setups have others does not take them.
    """
    for forked in _forked_off:
        try:
            _fill(forked, count, surroundings)
        except ForkServerError:  # noqa: PERF203 - there is one at the most
            # The pool will meet it, too, and reports it. The run is created with what they held.
            for worker in forked.workers:
                worker.connection.close()


def _fill(forked: ForkedOff, count: int, surroundings: Any) -> None:
    while len(forked.workers) < count:
        number = len(forked.workers)
        forked.workers.append(start_worker(forked.server, number, surroundings))


def forget_server() -> None:
    """Let go of the server in a process that was forked after it, and is not the one it serves."""
    for forked in _forked_off:
        forked.server.forget()
        for worker in forked.workers:
            worker.connection.close()
    _forked_off.clear()


def take_forked_off() -> ForkedOff | None:
    """What was forked off for the pool that is made now, if anything was."""
    return _forked_off.pop() if _forked_off else None
