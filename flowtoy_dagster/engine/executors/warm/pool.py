"""Up to N workers for the length of a run: gives them steps, and waits on all of them at once."""

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from typing_extensions import Self

from flowtoy_dagster.engine.executors.warm.forkserver_client import (
    ForkServer,
    ForkServerError,
    WorkerEnd,
    WorkerStart,
    WorkerStartError,
    socket_pair,
)
from flowtoy_dagster.engine.storage.address import modules_to_preload

PRELOAD = "flowtoy_dagster.engine.executors.warm.preload"
DEFINITIONS = "flowtoy_dagster.definitions"
"""What workers rebuild jobs by; a name, because it stands on a floor below this one."""
ENTRY = "flowtoy_dagster.engine.executors.warm.worker:main"
_REPORT_TIMEOUT = 2.0
_forked_off: list[ForkServer] = []


def fork_off_server(modules: Iterable[str] = ()) -> None:
    """Import what a run needs, and fork the next pool's server off while there are no threads.

    Only for a process that is ours from its start, before it opens anything.

    Args:
        modules: imported beside what every run needs.
    """
    if not _forked_off:
        preload = (PRELOAD, DEFINITIONS, *modules_to_preload(), *modules)
        _forked_off.append(ForkServer.fork_off(preload, ENTRY))


def forget_server() -> None:
    """Let go of the server in a process that was forked after it, and is not the one it serves."""
    for server in _forked_off:
        server.forget()
    _forked_off.clear()


@dataclass(frozen=True)
class StepEvent:
    """Something that a worker reports while it runs a step."""

    step_key: str
    event: Any


@dataclass(frozen=True)
class StepDone:
    """A worker has finished with a step; `error` is what broke it outside of the step itself."""

    step_key: str
    error: Any = None


@dataclass(frozen=True)
class StepLost:
    """A worker ended in the middle of a step; `status` is its exit code or minus its signal."""

    step_key: str
    pid: int
    status: int | None


Report = StepEvent | StepDone | StepLost


@dataclass
class _Worker:
    number: int
    connection: Connection
    pid: int = 0
    step_key: str | None = None
    retiring: bool = False
    ended: int | None = None


def _runs(worker: _Worker, but: Collection[str]) -> bool:
    """Whether a worker runs a step, but for those of some keys."""
    return worker.step_key is not None and worker.step_key not in but and worker.pid > 0


class WorkerPool:
    """The workers of one run.

    Args:
        setup: sent to each worker first: what all steps of the run have in common.
        limit: the most workers there may be.
    """

    def __init__(self, setup: Any, limit: int) -> None:
        self._setup = setup
        self._limit = limit
        self._server: ForkServer | None = _forked_off.pop() if _forked_off else None
        self._workers: dict[int, _Worker] = {}
        self._next = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def busy(self) -> list[str]:
        """The keys of the steps that are running."""
        return [w.step_key for w in self._workers.values() if w.step_key is not None]

    def grow(self, count: int) -> None:
        """Have `count` workers (within the limit) on their way, before there are steps for them."""
        while len(self._workers) < min(count, self._limit):
            self._add()

    def run(self, step_key: str, task: Any) -> None:
        """Give a step to a worker that is free; there must be fewer busy ones than the limit.

        Raises:
            ForkServerError: a worker is needed and can't be had.
        """
        free = (w for w in self._workers.values() if w.step_key is None and not w.retiring)
        for worker in [*free, None]:
            chosen = worker or self._add()
            try:
                chosen.connection.send((step_key, task))
            except OSError:
                # It died while it had nothing to do: nothing is lost.
                self._drop(chosen)
                continue
            chosen.step_key = step_key
            return

    def wait(self, timeout: float) -> Iterator[Report]:
        """What workers report; waits until there is something, or for `timeout` seconds."""
        connections = {w.connection: w for w in self._workers.values()}
        sources: list[Any] = [*([self._server] if self._server else []), *connections]
        for ready in wait(sources, timeout):
            worker = connections.get(ready)  # type: ignore[call-overload]
            if worker is None:
                self._hear_server()
            elif worker.number in self._workers:
                yield from self._hear(worker)

    def interrupt(self, but: Collection[str] = ()) -> None:
        """SIGINT to every worker that runs a step, `but` those of these keys."""
        self._hear_server()  # a worker that was forked just now has a process id too
        for worker in self._workers.values():
            if _runs(worker, but) and worker.ended is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGINT)

    def kill(self, but: Collection[str] = ()) -> None:
        """SIGKILL to every worker that runs a step, `but` those of these keys; the server ends what
        they leave behind.
        """
        for worker in self._workers.values():
            if _runs(worker, but) and worker.ended is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let all workers end, and the server after them."""
        for worker in list(self._workers.values()):
            worker.connection.close()
        self._workers.clear()
        if self._server is not None:
            self._server.close()

    def _add(self) -> _Worker:
        if self._server is None:
            self._server = ForkServer.spawn(
                (PRELOAD, DEFINITIONS, *modules_to_preload()), ENTRY
            )
        ours, theirs = socket_pair()
        try:
            self._server.wait_until_ready()
            self._server.fork(self._next, theirs)
        except ForkServerError:
            ours.close()
            raise
        finally:
            theirs.close()
        worker = _Worker(self._next, Connection(ours.detach()))
        self._next += 1
        self._workers[worker.number] = worker
        with contextlib.suppress(OSError):
            worker.connection.send(self._setup)
        return worker

    def _hear(self, worker: _Worker) -> Iterator[Report]:
        # One message a turn: every worker is heard before any is heard twice.
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._lose(worker)
            return
        step_key = worker.step_key
        assert step_key is not None, f"a report of worker {worker.number}, which runs no step"
        if kind == "event":
            yield StepEvent(step_key, content)
        else:
            worker.step_key = None
            error, worker.retiring = content
            if worker.retiring:
                self._drop(worker)
            yield StepDone(step_key, error)

    def _lose(self, worker: _Worker) -> Iterator[Report]:
        deadline = time.monotonic() + _REPORT_TIMEOUT
        while worker.ended is None and self._server and time.monotonic() < deadline:
            sources: list[Any] = [self._server]
            wait(sources, 0.1)
            self._hear_server()
        self._drop(worker)
        if worker.step_key is not None:
            yield StepLost(worker.step_key, worker.pid, worker.ended)

    def _hear_server(self) -> None:
        if self._server is None:
            return
        try:
            for item in self._server.news():
                worker = self._workers.get(item.number)
                if worker is None:
                    continue
                if isinstance(item, WorkerStart):
                    worker.pid = item.pid
                elif isinstance(item, WorkerEnd):
                    worker.ended = item.status
        except WorkerStartError:
            raise
        except ForkServerError:
            # Workers live on without it; another is started when one more is needed.
            self._server.close()
            self._server = None

    def _drop(self, worker: _Worker) -> None:
        self._workers.pop(worker.number, None)
        worker.connection.close()
