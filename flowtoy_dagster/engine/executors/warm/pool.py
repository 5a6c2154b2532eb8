"""Up to N workers for the length of a run: gives them steps, and waits on all of them at once."""

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any, NamedTuple, Protocol

from typing_extensions import Self

from flowtoy_dagster.engine.executors.warm.forked_off import (
    WorkerHandle,
    end_server,
    spawn_server,
    start_worker,
    take_forked_off,
)
from flowtoy_dagster.engine.executors.warm.forkserver_client import (
    ForkServer,
    ForkServerError,
    WorkerEnd,
    WorkerStart,
    WorkerStartError,
)
from flowtoy_dagster.providers.subprocesses import signal_name
from flowtoy_dagster.steps.state.deadline import EXIT_UNINTERRUPTIBLE

_REPORT_TIMEOUT = 2.0


class StepEvent(NamedTuple):
    """Something that a worker reports while it runs a step."""

    step_key: str
    event: Any


class StepDone(NamedTuple):
    """A worker has finished with a step; `error` is what broke it outside of the step itself."""

    step_key: str
    error: Any = None


class StepLost(NamedTuple):
    """A worker ended in the middle of a step.

    Attributes:
        step_key: the step.
        pid: the worker's process.
        status: its exit code or minus its signal; None where that is not known.
        told: how it ended, where another process has told.
        is_final: whether it can't be tried again, nor be judged by its op: no worker took it.
    """

    step_key: str
    pid: int
    status: int | None
    told: str | None = None
    is_final: bool = False

    @property
    def reason(self) -> str:
        """How it ended, in words."""
        if self.told is not None:
            return self.told
        if self.status == EXIT_UNINTERRUPTIBLE:
            return "timed out, and could not be interrupted"
        if self.status is None:
            how = "ended for an unknown reason"
        elif self.status >= 0:
            how = f"ended with exit code {self.status}"
        else:
            how = f"was killed by {signal_name(-self.status)}"
            if self.status == -signal.SIGKILL:
                how += ", perhaps because the machine ran out of memory"
            elif self.status == -signal.SIGSEGV:
                how += ": native code that the step used crashed"
        return f"the worker process {self.pid} that ran this step {how}"


Report = StepEvent | StepDone | StepLost


def _runs(worker: WorkerHandle, but: Collection[str]) -> bool:
    """Whether a worker runs a step, but for those of some keys."""
    return worker.step_key is not None and worker.step_key not in but and worker.pid > 0


class Pool(Protocol):
    """What runs the steps of a run, at once."""

    @property
    def busy(self) -> list[str]:
        """The keys of the steps that are running."""

    def grow(self, count: int) -> None:
        """Get ready for so many steps at once."""

    def run(self, step_key: str, task: Any) -> None:
        """Run a step."""

    def wait(self, timeout: float) -> Iterator[Report]:
        """What happens; waits until something does, or for `timeout` seconds."""

    def interrupt(self, but: Collection[str] = ()) -> None:
        """Interrupt the steps that run, `but` those of these keys."""

    def kill(self, but: Collection[str] = ()) -> None:
        """Kill the steps that run, `but` those of these keys."""


class WorkerPool:
    """The workers of one run, or of several.

    Args:
        setup: what all steps of the run have in common, and in what surroundings; sent to each
            worker.
        limit: the most workers there may be.
    """

    def __init__(self, setup: Any, limit: int) -> None:
        self._setup = setup
        self._limit = limit
        forked = take_forked_off()
        self._server = forked.server if forked else None
        self._undisturbed = True
        self._workers: dict[int, WorkerHandle] = {}
        self._next = 0
        for worker in forked.workers if forked else ():
            self._adopt(worker)

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

    def run(
        self, step_key: str, task: Any, setup: Any = None, label: str | None = None
    ) -> None:
        """Give a step to a worker that is free; there must be fewer busy ones than the limit.

        Args:
            step_key: the step.
            task: what it must know.
            setup: that of the step's run, where the pool has workers for several.
            label: what reports call the step instead of its key.

        Raises:
            ForkServerError: a worker is needed and not available.
        """
        wanted = self._setup if setup is None else setup
        idle = [w for w in self._workers.values() if w.step_key is None and not w.retiring]
        for worker in [*(w for w in idle if w.setup is wanted), None]:
            chosen = worker or self._add_for(wanted, idle)
            try:
                chosen.connection.send((step_key, task))
            except OSError:
                # It died while it had nothing to do: nothing is lost.
                self._drop(chosen)
                continue
            chosen.step_key = label or step_key
            return

    def _add_for(self, setup: Any, idle: Sequence[WorkerHandle]) -> WorkerHandle:
        """A new worker; one that is idle for another run makes room."""
        if len(self._workers) >= self._limit and idle:
            self._drop(idle[0])
        return self._add(setup)

    def keep(self, setups: Collection[Any]) -> None:
        """Let the workers end that are idle, but for those with one of these setups."""
        for worker in list(self._workers.values()):
            if worker.step_key is None and not any(worker.setup is setup for setup in setups):
                self._drop(worker)

    def wait(self, timeout: float, also: Sequence[int] = ()) -> Iterator[Report]:
        """What workers report; waits until there is something, or for `timeout` seconds.

        Args:
            timeout: in seconds.
            also: file descriptors; that one of them can be read ends the waiting, too.
        """
        connections = {w.connection: w for w in self._workers.values()}
        sources: list[Any] = [*([self._server] if self._server else []), *connections, *also]
        for ready in wait(sources, timeout):
            worker = connections.get(ready)  # type: ignore[call-overload]
            if worker is None:
                self._hear_server()
            elif worker.number in self._workers:
                yield from self._hear(worker)

    def interrupt(self, but: Collection[str] = ()) -> None:
        """SIGINT to every worker that runs a step, `but` those of these keys."""
        self._undisturbed = False
        self._hear_server()  # a worker that was forked just now has a process id too
        for worker in self._workers.values():
            if _runs(worker, but) and worker.ended is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGINT)

    def kill(self, but: Collection[str] = ()) -> None:
        """SIGKILL to every worker that runs a step, `but` those of these keys; the server ends what
        they leave behind.
        """
        self._undisturbed = False
        for worker in self._workers.values():
            if _runs(worker, but) and worker.ended is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)

    def send_signal(self, label: str, number: int) -> None:
        """Send a signal to the worker that runs a step."""
        self._hear_server()
        for worker in self._workers.values():
            if worker.step_key == label and worker.pid > 0 and worker.ended is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, number)

    def close(self) -> None:
        """Let all workers end, and the server after them."""
        undisturbed = self._undisturbed and not self.busy
        for worker in list(self._workers.values()):
            worker.connection.close()
        self._workers.clear()
        if self._server is None:
            return
        if undisturbed:
            end_server(self._server)
        else:
            self._server.close()

    def start_server(self) -> ForkServer:
        """What workers are forked from; waits until it has imported what they need.

        Raises:
            ForkServerError: it is not available.
        """
        if self._server is None:
            self._server = spawn_server()
        self._server.wait_until_ready()
        return self._server

    def _add(self, setup: Any = None) -> WorkerHandle:
        chosen = self._setup if setup is None else setup
        worker = start_worker(self.start_server(), self._next)
        worker.settle(chosen.surroundings)
        self._next += 1
        self._take(worker, chosen)
        return worker

    def _adopt(self, worker: WorkerHandle) -> None:
        """Take a worker that was started before, unless it is of no use to this pool."""
        self._next += 1  # also for one that is not taken: its end is reported by its number
        setup = self._setup
        if setup is not None and worker.surroundings is None:
            worker.settle(setup.surroundings)
        fits = setup is not None and worker.surroundings == setup.surroundings
        if fits and not worker.connection.closed:
            self._take(worker, setup)
        else:
            worker.connection.close()

    def _take(self, worker: WorkerHandle, setup: Any) -> None:
        self._workers[worker.number] = worker
        worker.setup = setup
        with contextlib.suppress(OSError):
            worker.connection.send(setup)

    def _hear(self, worker: WorkerHandle) -> Iterator[Report]:
        # One message a turn: every worker is heard before any is heard twice.
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._lose(worker)
            return
        step_key = worker.step_key
        assert step_key is not None, f"a report of worker {worker.number}, which runs no step"
        if kind == "events":
            yield from (StepEvent(step_key, event) for event in content)
        else:
            worker.step_key = None
            events, error, worker.retiring = content
            if worker.retiring:
                self._drop(worker)
            yield from (StepEvent(step_key, event) for event in events)
            yield StepDone(step_key, error)

    def _lose(self, worker: WorkerHandle) -> Iterator[Report]:
        deadline = time.monotonic() + _REPORT_TIMEOUT
        while worker.ended is None and self._server and time.monotonic() < deadline:
            sources: list[Any] = [self._server]
            wait(sources, 0.1)
            self._hear_server()
        self._drop(worker)
        self._undisturbed = False
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

    def _drop(self, worker: WorkerHandle) -> None:
        self._workers.pop(worker.number, None)
        worker.connection.close()
