"""A worker on any machine: takes steps from a queue and has them run by processes that it forks.

All is done by one thread, which renews what it holds at least every two seconds. When it was away
for too long, it finds that it holds nothing any more, and kills the processes that run its steps.
That thread is the main one of `flowtoy worker`, or one of a worker that another engine owns.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from flowtoy_dagster.engine.executors.remote.database import Database, DatabaseAwayError
from flowtoy_dagster.engine.executors.remote.leases import (
    CARRIER_LEASE,
    RENEWAL,
    WAKE_CHANNEL,
    Claim,
    Leases,
    Renewal,
)
from flowtoy_dagster.engine.executors.remote.message import Message
from flowtoy_dagster.engine.executors.remote.setups import Setups
from flowtoy_dagster.engine.executors.remote.transport import Intake
from flowtoy_dagster.engine.executors.warm.forked_off import fork_off_server
from flowtoy_dagster.engine.executors.warm.pool import Report, StepDone, StepLost, WorkerPool
from flowtoy_dagster.engine.executors.warm.worker import StepTask
from flowtoy_dagster.engine.fence import Fence
from flowtoy_dagster.engine.sites.misfits import Strangers
from flowtoy_dagster.engine.sites.site import Site
from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.engine.storage.instances import open_instance
from flowtoy_dagster.errors import RunError
from flowtoy_dagster.terminal import say

OnReturn = Callable[[Database], object]
OpenIntake = Callable[[Database, Site], Intake]
UNREACHABLE = 30.0
"""Seconds without the database after which an agent kills its steps: another may run them."""
AWAY_PAUSE = 0.5
"""Seconds between two questions to a database that does not answer."""
_MISSED = 3 * RENEWAL
"""Seconds between two renewals from which on something was away."""
_MODULES = ("flowtoy_dagster.providers.rest.provider", "psycopg2")
_SIGNALS: Mapping[str, int] = {"interrupt": signal.SIGINT, "kill": signal.SIGKILL}


@dataclass
class _Held:
    """A step that runs here.

    Attributes:
        claim: by what it is held.
        began: when its run began, by the monotonic clock.
        stopped: the last signal that its process was sent.
        gone: why its process was killed, where that was us.
    """

    claim: Claim
    began: float
    stopped: str | None = None
    gone: str | None = None


@dataclass(frozen=True)
class _End:
    """What is to be reported of a step that has ended."""

    message: Message
    error: str | None
    gone: str | None


class Agent:
    """Takes steps and has them run.

    Args:
        leases: the table of leases.
        database: the connection that it is reached by.
        site: what this machine has.
        intake: delivers messages.
        setups: what workers must know of runs.
        listens: the queues that it takes from, with a comma between them; for others to see.
        slots: how many steps run at once.
        on_return: called where the database was away and answers again; what it raises ends the
            agent.
    """

    def __init__(
        self, leases: Leases, database: Database, site: Site, intake: Intake, setups: Setups,
        listens: str, slots: int, on_return: OnReturn = lambda _: None,
    ) -> None:
        self._leases = leases
        self._database = database
        self._strangers = Strangers(site, leases.runs_elsewhere)
        self._intake = intake
        self._setups = setups
        self._listens = listens
        self._slots = slots
        self._on_return = on_return
        self._pool = WorkerPool(None, slots)
        self._host = socket.gethostname()
        self._holder = f"{self._host}/{os.getpid()}/{uuid.uuid4().hex}"
        self._held: dict[str, _Held] = {}
        self._waiting: set[str] = set()
        """Which of those have no process yet: the shared files have not answered."""
        self._ends: list[_End] = []
        self._renewed_at = time.monotonic()
        self._judging_from = 0.0
        self._connected = database.connected
        self._again: Message | None = None
        self._is_stopping = False
        self._stops = 0
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)

    def run(self, on_ready: Callable[[], object] = lambda: None) -> None:
        """Take steps until `stop`, and end when those that run have ended.

        Args:
            on_ready: called as soon as it takes steps.
        """
        # Where a step waited for that, its lease would not be renewed meanwhile.
        self._pool.start_server()
        self._renewed_at = time.monotonic()
        self._database.listen(WAKE_CHANNEL)
        self._tend()
        queues = ", ".join(f"'{one.rpartition(':')[2]}'" for one in self._listens.split(","))
        say(f"worker on {self._host} takes up to {self._slots} steps at once from queue {queues}")
        on_ready()
        try:
            while self._held or self._ends or not self._is_stopping:
                self._turn()
        finally:
            self._pool.close()
        with contextlib.suppress(DatabaseAwayError):
            self._leases.leave(self._holder)

    def wake(self) -> None:
        """Have it look for messages now. For any thread, and for handlers of signals."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, b"\0")

    def stop(self) -> None:
        """Take nothing new; the second time, end the steps that run. As `wake`, from anywhere."""
        self._stops += 1
        self.wake()

    def _turn(self) -> None:
        """Do what is due, and wait for more."""
        self._heed_stops()
        try:
            self._report_ends()
            if time.monotonic() - self._renewed_at >= RENEWAL or self._database.notified():
                self._tend()
            for label in tuple(self._waiting):
                self._begin(label)
            while not self._is_stopping and len(self._held) < self._slots:
                self._again = self._again or self._intake.take()
                if self._again is None:
                    break
                # Where the database is away, the same message comes first afterwards.
                self._start(self._again)
                self._again = None
            pause = max(0.0, self._renewed_at + RENEWAL - time.monotonic())
        except DatabaseAwayError:
            self._end_unreachable()
            pause = AWAY_PAUSE
        descriptors = [self._wake, *([self._database.fileno()] * (self._database.fileno() >= 0))]
        for report in self._pool.wait(pause, descriptors):
            self._take_in(report)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 1 << 10)

    def _tend(self) -> None:
        """Renew what is held, and end what is to end."""
        self._leases.present(self._holder, self._host, self._listens, self._slots)
        renewed = self._leases.renew(self._holder)
        now = time.monotonic()
        if self._connected != self._database.connected or now - self._renewed_at > _MISSED:
            # The database was away, or we were: who carries a run had no time to renew.
            self._connected, self._judging_from = self._database.connected, now + CARRIER_LEASE
            self._on_return(self._database)
        self._renewed_at = now
        for label, held in self._held.items():
            self._judge(label, held, renewed.get(held.claim.message))
        self._pool.keep(self._setups.in_use())
        self._strangers.report()

    def _judge(self, label: str, held: _Held, renewal: Renewal | None) -> None:
        """Send a step's process a signal, where there is a reason to."""
        if renewal is None:
            held.gone, wanted = "it was given to another worker", "kill"
        elif renewal.is_orphan and time.monotonic() > self._judging_from:
            held.gone, wanted = "the process that executes the run was not seen", "kill"
        elif renewal.stop == "kill":
            held.gone, wanted = "its run has ended it", "kill"
        elif renewal.stop is not None:
            wanted = renewal.stop
        else:
            return
        # One that is to be killed is signalled again: it may have had no process yet.
        if wanted == "kill" or held.stopped != wanted:
            held.stopped = wanted
            self._pool.send_signal(label, _SIGNALS[wanted])

    def _start(self, message: Message) -> None:
        label = f"{message.run_id}/{message.turn}"
        is_here = label in self._held or any(end.message == message for end in self._ends)
        claim = None if is_here else self._leases.claim(message, self._holder, self._host)
        if claim is None:
            self._intake.settle(message)
            return
        self._held[label] = _Held(claim, time.monotonic() - claim.elapsed)
        self._waiting.add(label)
        self._begin(label)

    def _begin(self, label: str) -> None:
        """Have a step that is held run, as soon as what it needs is there."""
        held = self._held[label]
        claim, message = held.claim, held.claim.message
        try:
            if held.gone or held.stopped:
                raise RunError(held.gone or "it was interrupted before it began")
            setup = self._setups.of(message.run_id, held.began, self.wake)
            if setup is None:
                return
            fence = Fence(message.run_id, message.turn, self._holder)
            task = StepTask(claim.attempts, claim.lost, fence=fence)
            self._pool.run(claim.step_key, task, setup, label)
        except DatabaseAwayError:
            return  # tried again when the database answers
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must learn of it
            del self._held[label]
            reason = str(error).strip().partition("\n")[0]
            say(f"can't run step '{claim.step_key}' of run {message.run_id[:8]}: {reason}")
            self._ends.append(_End(message, None, f"the worker on {self._host}: {reason}"))
        else:
            say(f"takes step '{claim.step_key}' of run {message.run_id[:8]}")
        self._waiting.discard(label)

    def _take_in(self, report: Report) -> None:
        if not isinstance(report, (StepDone, StepLost)):
            return  # the process that runs the step has stored it
        held = self._held.pop(report.step_key)
        claim, error, gone = held.claim, None, None
        how = "has ended"
        if isinstance(report, StepLost):
            gone = held.gone or f"{report.reason} (on {self._host})"
            how = f"is lost: {gone}"
        elif report.error is not None:
            error = dg.serialize_value(report.error)
        say(f"step '{claim.step_key}' of run {claim.message.run_id[:8]} {how}")
        self._ends.append(_End(claim.message, error, gone))

    def _report_ends(self) -> None:
        while self._ends:
            end = self._ends[0]
            self._leases.end(end.message, self._holder, end.error, end.gone)
            self._ends.pop(0)
            self._intake.settle(end.message)

    def _end_unreachable(self) -> None:
        if self._stops > 1 and self._ends:
            say("the database of runs does not answer: ends of steps are not reported")
            self._ends.clear()
        if time.monotonic() - self._renewed_at < UNREACHABLE:
            return
        for label, held in self._held.items():
            held.gone = "the database of runs could not be reached"
            self._pool.send_signal(label, signal.SIGKILL)

    def _heed_stops(self) -> None:
        if self._stops and not self._is_stopping:
            self._is_stopping = True
            say(f"takes no more steps; {len(self._held)} still run")
        if self._stops > 1:
            for label, held in self._held.items():
                held.gone = f"the worker on {self._host} was ended by a second signal"
                self._pool.send_signal(label, signal.SIGKILL)


@contextlib.contextmanager
def open_agent(
    open_intake: OpenIntake, listens: str, slots: int,
    on_return: OnReturn = lambda _: None,
) -> Iterator[Agent]:
    """An agent with the home of this machine, in this thread.

    Args:
        open_intake: makes the intake, given the agent's connection and what its machine has.
        listens: the queues that it takes from, with a comma between them.
        slots: how many steps run at once.
        on_return: as `Agent` has it.

    Raises:
        HomeError: the home, the shared folder or the database can't be used.
    """
    home = open_home()
    database = Database.of_runs(patience=0)
    with contextlib.closing(database), open_instance(home) as instance:
        site = Site.of_here(home)
        leases = Leases(database, site)
        yield Agent(
            leases, database, site, open_intake(database, site), Setups(instance, home), listens,
            slots, on_return,
        )


def fork_off_workers() -> None:
    """Fork off, in a process without threads, what the steps' processes are forked from."""
    fork_off_server(_MODULES)


def serve(open_intake: OpenIntake, queue: str, slots: int) -> None:
    """Be an agent in the main thread, until SIGTERM.

    Args:
        open_intake: makes the intake, given the agent's connection and what its machine has.
        queue: what it takes from.
        slots: how many steps run at once.

    Raises:
        HomeError: the home or the database can't be used.
    """
    open_home()
    fork_off_workers()
    with open_agent(open_intake, queue, slots) as agent, calling_on_signals(agent.stop):
        agent.run()


@contextlib.contextmanager
def calling_on_signals(act: Callable[[], object]) -> Iterator[None]:
    """Call a function on each SIGTERM and SIGINT; in the main thread."""
    previous: dict[int, Any] = {
        number: signal.signal(number, lambda *_: act())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
