"""The pool of a run whose workers are elsewhere: hands steps out and reads what becomes of them."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import dagster as dg
from typing_extensions import Self

from flowtoy_dagster.engine.dagster_private.execution import SerializableErrorInfo
from flowtoy_dagster.engine.executors.remote.database import Database
from flowtoy_dagster.engine.executors.remote.events import LAST, events_after
from flowtoy_dagster.engine.executors.remote.leases import (
    CARRIER_RENEWAL,
    Leases,
    Standing,
    run_channel,
)
from flowtoy_dagster.engine.executors.remote.message import Message
from flowtoy_dagster.engine.executors.remote.needs import LEASE
from flowtoy_dagster.engine.executors.remote.transport import Transport
from flowtoy_dagster.engine.executors.warm.pool import Report, StepDone, StepEvent, StepLost
from flowtoy_dagster.engine.executors.warm.worker import StepTask
from flowtoy_dagster.engine.sites.misfits import why_nobody_takes
from flowtoy_dagster.engine.sites.site import Site

logger = logging.getLogger("flowtoy.step")

TELL_AFTER = 10.0
"""Seconds after which a run reports that a step waits for a worker."""
SEND_AGAIN = 20.0
"""Seconds after which the message of a step that nobody has claimed is sent again."""
SEND_SOON = 3.0
"""The same, where a worker of its queue has a free slot: another one has the message, and is
stopped or lost."""
LONGEST_PAUSE = 60.0
"""Seconds between two of them, at most: while all workers are busy, each is one more to drop."""
_MISSED = 5.0
"""Seconds between two looks from which on it may be this process that was away."""
NOT_TAKEN = "the run's timeout passed before a worker took this step"
_WAITS = "waits for a worker"
_INTERRUPTS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


@dataclass
class _Turn:
    """A hand-out of a step that has not ended.

    Attributes:
        message: which one.
        step_key: the step.
        queue: whose workers may take it.
        cursor: the id of the last event that is known of it.
        sent_at: when its message was sent, by the monotonic clock.
        pause: seconds until it is sent again.
        soon: seconds until it is asked whether a worker could take it.
        handed_at: when it was handed out first.
        told: the ids of events that tell that it waits for a worker, which are the run's own.
        has_told: what the last one of them said.
        has_last: whether the last event of the attempt was read.
    """

    message: Message
    step_key: str
    queue: str
    cursor: int
    sent_at: float
    handed_at: float = field(default_factory=time.monotonic)
    pause: float = field(default_factory=lambda: SEND_AGAIN)
    soon: float = field(default_factory=lambda: SEND_SOON)
    told: set[int] = field(default_factory=set)
    has_told: str = ""
    has_last: bool = False


@dataclass(frozen=True)
class _Wait:
    """Why steps of a queue wait for a worker.

    Attributes:
        why: the reason.
        is_usual: whether nothing is wrong: there are workers, which have no free slot, or are about
            to take them.
        asked_at: when this was so, by the monotonic clock.
        idle: the names of the workers that had nothing to do.
    """

    why: str
    is_usual: bool
    asked_at: float
    idle: frozenset[str] = frozenset()


class RemotePool:
    """The steps of one run that are somewhere else.

    Args:
        run_id: the run.
        database: the connection of this process; closed at the end.
        site: what this machine has.
        transport: takes the messages.
        queue_of: gives the queue of a step by its key.
        limit_of: gives, by the key of a step, how many seconds after the run's begin it must have a
            worker; None where it may wait.
        tell: stores that a step waits for something, given its key and a text.
    """

    def __init__(
        self,
        run_id: str,
        database: Database,
        site: Site,
        transport: Transport,
        queue_of: Callable[[str], str],
        limit_of: Callable[[str], float | None],
        tell: Callable[[str, str], object],
    ) -> None:
        self._run_id = run_id
        self._database = database
        self._transport = transport
        self._queue_of = queue_of
        self._limit_of = limit_of
        self._began = time.monotonic()
        self._tell = tell
        self._site = site
        self._leases = Leases(database, site)
        self._waits: dict[str, _Wait] = {}
        self._logged: set[tuple[str, str]] = set()
        self._turns: dict[int, _Turn] = {}
        self._numbers = itertools.count(1)
        self._looked_at = self._renewed_at = time.monotonic()
        self._judging_from = 0.0
        self._connected = database.connected

    def __enter__(self) -> Self:
        self._database.listen(run_channel(self._run_id))
        self._leases.open_run(self._run_id)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._leases.close_run(self._run_id)
            self._transport.close(self._run_id)
        finally:
            self._database.close()

    @property
    def busy(self) -> list[str]:
        """The keys of the steps that were handed out."""
        return [turn.step_key for turn in self._turns.values()]

    def grow(self, count: int) -> None:
        """Nothing: workers are there or not."""

    def run(self, step_key: str, task: StepTask) -> None:
        """Hand a step out."""
        # Where the database was away just now, agents would take a run's old row for a dead run's.
        self._renew()
        message = Message(self._run_id, next(self._numbers))
        queue = self._queue_of(step_key)
        cursor = self._leases.hand_out(message, step_key, task.attempts, task.lost)
        self._turns[message.turn] = _Turn(message, step_key, queue, cursor, time.monotonic())
        self._transport.submit(message, queue)

    def wait(self, timeout: float) -> Iterator[Report]:
        """What becomes of the steps; waits until something does, or for `timeout` seconds."""
        self._database.wait(timeout)
        self._renew()
        yield from self._look()

    def _renew(self) -> None:
        """Show that this process lives, where that is due."""
        if time.monotonic() - self._renewed_at >= CARRIER_RENEWAL:
            self._leases.renew_run(self._run_id)
            self._renewed_at = time.monotonic()

    def interrupt(self, but: Collection[str] = ()) -> None:
        """Have the steps interrupted that run, `but` those of these keys; take others back."""
        self._stop("interrupt", but)

    def kill(self, but: Collection[str] = ()) -> None:
        """Have the processes killed that run steps, `but` those of these keys."""
        self._stop("kill", but)

    def _stop(self, how: str, but: Collection[str]) -> None:
        for turn in self._turns.values():
            if turn.step_key not in but:
                self._leases.stop(turn.message, how)

    def _look(self) -> Iterator[Report]:
        if not self._turns:
            self._looked_at = time.monotonic()
            return
        # What has ended is asked for first: then all its events are there.
        standings = self._leases.look(self._run_id, self._turns)
        self._note_absence()
        yield from self._new_events(self._turns)
        for turn in list(self._turns.values()):
            standing = standings.get(turn.message.turn)
            if standing is None:
                yield self._ended(turn, "its entry in the table of leases is gone")
            elif standing.ended:
                yield self._end_of(turn, standing)
            elif standing.is_late and time.monotonic() > self._judging_from:
                yield from self._give_up(turn, standing)
            elif standing.host is None:
                yield from self._out_of_time(turn)
                if turn.message.turn in self._turns:
                    self._remind(turn)

    def _note_absence(self) -> None:
        """Judge nobody for a while where the database was away, or this process.

        Everything looks old then. Who lives renews within the time of a lease.
        """
        now = time.monotonic()
        away = now - self._looked_at > _MISSED
        if away or self._database.connected != self._connected:
            self._connected, self._judging_from = self._database.connected, now + LEASE
        self._looked_at = now

    def _new_events(self, turns: Mapping[int, _Turn]) -> Iterator[Report]:
        wanted = {
            number: (turn.step_key, turn.cursor)
            for number, turn in turns.items() if not turn.has_last
        }
        for number, of_turn, event in list(events_after(self._database, self._run_id, wanted)):
            turn = turns[of_turn]
            if number in turn.told:
                continue
            if event is not None and (event.message or "").startswith(_WAITS):
                # Ours. What the worker has stored before it may not be seen yet.
                turn.told.add(number)
            else:
                turn.cursor = number
            if event is not None and not turn.has_last:
                turn.has_last = event.event_type in LAST
                yield StepEvent(turn.step_key, event)

    def _end_of(self, turn: _Turn, standing: Standing) -> Report:
        error = None
        if standing.error is not None:
            error = dg.deserialize_value(standing.error, SerializableErrorInfo)
        if error is None or turn.has_last or error.cls_name in _INTERRUPTS:
            return self._ended(turn, standing.gone, error)
        reason = error.message.strip().partition("\n")[0]
        return self._ended(turn, f"the worker on {standing.host} can't run this step: {reason}")

    def _give_up(self, turn: _Turn, standing: Standing) -> Iterator[Report]:
        reason = f"the worker on {standing.host} that ran this step is gone"
        if self._leases.give_up(turn.message, reason):
            # Nothing of it is stored from now on, but something may have been just now.
            yield from self._new_events({turn.message.turn: turn})
            yield self._ended(turn, reason)

    def _out_of_time(self, turn: _Turn) -> Iterator[Report]:
        """Fail a step that no worker took in the time of the run: no worker can do that."""
        limit = self._limit_of(turn.step_key)
        if limit is None or time.monotonic() - self._began < limit:
            return
        if self._leases.withdraw(turn.message):
            del self._turns[turn.message.turn]
            why = self._why_waiting(turn.queue, time.monotonic()).why
            yield StepLost(turn.step_key, 0, None, f"{NOT_TAKEN}: {why}", is_final=True)

    def _ended(
        self, turn: _Turn, gone: str | None, error: SerializableErrorInfo | None = None
    ) -> Report:
        del self._turns[turn.message.turn]
        if gone is not None and not turn.has_last:
            return StepLost(turn.step_key, 0, None, gone)
        return StepDone(turn.step_key, error)

    def _send_again(self, turn: _Turn, now: float) -> None:
        turn.sent_at = now
        self._transport.submit(turn.message, turn.queue)

    def _remind(self, turn: _Turn) -> None:
        """Send the message again of a step that nobody has claimed, and report it."""
        now = time.monotonic()
        if now - turn.sent_at > turn.pause:
            turn.pause = min(2 * turn.pause, LONGEST_PAUSE)
            self._send_again(turn, now)
        elif now - turn.sent_at > turn.soon:
            if self._leases.idle(self._transport.listeners(turn.queue)):
                self._send_again(turn, now)
            turn.soon *= 2
        if now - turn.handed_at > TELL_AFTER:
            self._report_wait(turn, self._why_waiting(turn.queue, now))

    def _report_wait(self, turn: _Turn, wait: _Wait) -> None:
        """Store why a step waits, and again where the reason is another one, and a worse one."""
        if wait.why == turn.has_told or (turn.has_told and wait.is_usual):
            return
        turn.has_told = wait.why
        if not wait.is_usual and (turn.queue, wait.why) not in self._logged:
            # The history has it for each step; in the log, a hundred of these hide all else.
            self._logged.add((turn.queue, wait.why))
            logger.warning("step '%s' %s: %s", turn.step_key, _WAITS, wait.why)
        self._tell(turn.step_key, f"{_WAITS}: {wait.why}")

    def _why_waiting(self, queue: str, now: float) -> _Wait:
        """Why steps of a queue wait, as it was a short time ago."""
        known = self._waits.get(queue)
        if known is None or now - known.asked_at > TELL_AFTER:
            listening = self._leases.listening(self._transport.listeners(queue))
            idle = frozenset(worker.name for worker in listening if worker.is_idle)
            # Who was started just now, or has ended a step, is idle at one look alone.
            deaf = known.idle & idle if known is not None else frozenset[str]()
            why, is_usual = why_nobody_takes(
                queue, self._site, listening, deaf, self._transport.hint()
            )
            trouble = self._transport.trouble()
            known = _Wait(trouble or why, is_usual and trouble is None, now, idle)
            self._waits[queue] = known
        return known
