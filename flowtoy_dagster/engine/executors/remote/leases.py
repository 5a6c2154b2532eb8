"""Who runs which step: a table in the database of runs, by the clock of that database.

A row is one hand-out of a step: a *turn* of its run. The row of turn 0 stands for the process that
carries the run. An agent claims a row, renews it while the step runs, and ends it. A row that was
not renewed is given up by the carrier; from then on nothing that its holder writes is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg2

from flowtoy_dagster.engine.executors.remote.database import Database
from flowtoy_dagster.engine.executors.remote.message import Message
from flowtoy_dagster.engine.executors.remote.needs import LEASE
from flowtoy_dagster.engine.sites.misfits import Listener
from flowtoy_dagster.engine.sites.site import Site
from flowtoy_dagster.errors import HomeError

RENEWAL = 2.0
"""Seconds between an agent's renewals."""
CARRIER_LEASE = 15.0
"""Seconds without a sign of life of a run's carrier after which its steps are ended."""
CARRIER_RENEWAL = 1.0
WAKE_CHANNEL = "flowtoy_wake"
"""Tells agents that something is to be done: a step to take, or one to end."""
_TABLES = """
CREATE TABLE IF NOT EXISTS flowtoy_leases (
    run_id text NOT NULL, turn integer NOT NULL,
    step_key text NOT NULL, attempts integer NOT NULL DEFAULT 0, lost text,
    holder text, host text,
    made timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen timestamptz NOT NULL DEFAULT clock_timestamp(),
    stop text, ended boolean NOT NULL DEFAULT false, error text, gone text,
    PRIMARY KEY (run_id, turn));
CREATE INDEX IF NOT EXISTS flowtoy_leases_holder ON flowtoy_leases (holder) WHERE NOT ended;
CREATE TABLE IF NOT EXISTS flowtoy_agents (
    holder text PRIMARY KEY, host text NOT NULL, queue text NOT NULL, slots integer NOT NULL,
    seen timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE IF NOT EXISTS flowtoy_queue (
    run_id text NOT NULL, turn integer NOT NULL, queue text NOT NULL, message text NOT NULL,
    id bigserial, PRIMARY KEY (run_id, turn));
ALTER TABLE flowtoy_leases ADD COLUMN IF NOT EXISTS site text;
ALTER TABLE flowtoy_agents ADD COLUMN IF NOT EXISTS site text;
ALTER TABLE flowtoy_agents ADD COLUMN IF NOT EXISTS route text;
ALTER TABLE flowtoy_queue ADD COLUMN IF NOT EXISTS route text;
DROP INDEX IF EXISTS flowtoy_queue_order;
CREATE INDEX IF NOT EXISTS flowtoy_queue_route ON flowtoy_queue (queue, route, id);
"""
_LAST = "flowtoy_queue_route"
_FORGET_OLD = (
    "DELETE FROM flowtoy_leases WHERE seen < clock_timestamp() - interval '1 day'",
    "DELETE FROM flowtoy_agents WHERE seen < clock_timestamp() - interval '1 day'",
)
_CLAIM = """
UPDATE flowtoy_leases AS step SET holder = %s, host = %s, seen = clock_timestamp()
FROM flowtoy_leases AS carrier JOIN runs ON runs.run_id = carrier.run_id
WHERE step.run_id = %s AND step.turn = %s AND NOT step.ended
AND (step.holder IS NULL OR step.holder = %s)
AND carrier.run_id = step.run_id AND carrier.turn = 0
AND carrier.seen > clock_timestamp() - make_interval(secs => %s)
AND runs.status IN ('STARTED', 'CANCELING')
RETURNING step.step_key, step.attempts, step.lost,
    extract(epoch FROM clock_timestamp() - carrier.made)::float8
"""
_RENEW = """
UPDATE flowtoy_leases AS step SET seen = clock_timestamp()
FROM flowtoy_leases AS carrier
WHERE step.holder = %s AND NOT step.ended AND carrier.run_id = step.run_id AND carrier.turn = 0
RETURNING step.run_id, step.turn, step.stop,
    carrier.seen < clock_timestamp() - make_interval(secs => %s)
"""
_LOOK = """
SELECT turn, host, ended, error, gone,
    holder IS NOT NULL AND seen < clock_timestamp() - make_interval(secs => %s)
FROM flowtoy_leases WHERE run_id = %s AND turn = ANY(%s)
"""
_GIVE_UP = """
UPDATE flowtoy_leases SET ended = true, gone = %s
WHERE run_id = %s AND turn = %s AND NOT ended
AND seen < clock_timestamp() - make_interval(secs => %s) RETURNING turn
"""
_STOP = """
UPDATE flowtoy_leases SET stop = %s, ended = ended OR holder IS NULL,
    gone = CASE WHEN holder IS NULL AND NOT ended THEN 'interrupted' ELSE gone END
WHERE run_id = %s AND turn = %s RETURNING pg_notify(%s, '')
"""
_WITHDRAW = """
UPDATE flowtoy_leases SET ended = true
WHERE run_id = %s AND turn = %s AND holder IS NULL AND NOT ended RETURNING turn
"""
_END = """
UPDATE flowtoy_leases SET ended = true, error = %s, gone = %s
WHERE run_id = %s AND turn = %s AND holder = %s AND NOT ended
RETURNING pg_notify(%s, '')
"""
_HAND_OUT = """
INSERT INTO flowtoy_leases (run_id, turn, step_key, attempts, lost) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (run_id, turn) DO UPDATE SET step_key = excluded.step_key
RETURNING (SELECT coalesce(max(id), 0) FROM event_logs)
"""
_PRESENT = """
INSERT INTO flowtoy_agents (holder, host, queue, slots, site, route)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (holder) DO UPDATE SET seen = clock_timestamp()
"""
_LISTENING = """
SELECT holder, host, site, NOT EXISTS (SELECT FROM flowtoy_leases AS step
    WHERE step.holder = agent.holder AND step.seen > clock_timestamp() - make_interval(secs => %s))
FROM flowtoy_agents AS agent
WHERE %s = ANY(string_to_array(queue, ',')) AND seen > clock_timestamp() - make_interval(secs => %s)
"""
_IDLE = """
SELECT count(*) FROM flowtoy_agents AS agent
WHERE %s = ANY(string_to_array(queue, ',')) AND seen > clock_timestamp() - make_interval(secs => %s)
AND route = %s AND slots > (SELECT count(*) FROM flowtoy_leases AS step
    WHERE step.holder = agent.holder AND NOT step.ended)
"""
_ELSEWHERE = """
SELECT run_id, site FROM flowtoy_leases
WHERE turn = 0 AND seen > clock_timestamp() - make_interval(secs => %s) AND site <> %s
"""


@dataclass(frozen=True)
class Claim:
    """A step that an agent has claimed.

    Attributes:
        message: which hand-out it is.
        step_key: the step.
        attempts: how often it was tried before.
        lost: why the process that tried it is gone; then it is to be failed, not run.
        elapsed: seconds since the run began.
    """

    message: Message
    step_key: str
    attempts: int
    lost: str | None
    elapsed: float


@dataclass(frozen=True)
class Renewal:
    """A claim that is still its holder's.

    Attributes:
        stop: `interrupt` or `kill` where the run wants its end.
        is_orphan: whether the process that executes the run was not seen for too long.
    """

    stop: str | None
    is_orphan: bool


@dataclass(frozen=True)
class Standing:
    """The state of a hand-out.

    Attributes:
        host: where it was claimed; None where it was not.
        ended: whether its holder has ended it, or it was withdrawn.
        error: what broke it outside of the step, serialized.
        gone: why its process is gone.
        is_late: whether its holder was not seen for too long.
    """

    host: str | None
    ended: bool
    error: str | None
    gone: str | None
    is_late: bool


def run_channel(run_id: str) -> str:
    """The channel by which a run's carrier learns that a step has ended."""
    return f"flowtoy_run_{run_id}"


class Leases:
    """The table of leases.

    Args:
        database: where it is; the tables are made there.
        site: what this machine has.

    Raises:
        HomeError: the tables can't be made.
    """

    def __init__(self, database: Database, site: Site) -> None:
        self._database = database
        self._site = site
        try:
            database.make_tables(_LAST, _TABLES)
        except psycopg2.Error as error:
            reason = str(error).strip().partition("\n")[0]
            raise HomeError(f"the tables of workers can't be made: {reason}") from None

    def open_run(self, run_id: str) -> None:
        """Begin to carry a run."""
        for forget in _FORGET_OLD:
            self._database.rows(forget)
        self._database.rows(
            "INSERT INTO flowtoy_leases (run_id, turn, step_key, site) VALUES (%s, 0, '', %s) "
            "ON CONFLICT (run_id, turn) DO UPDATE SET seen = clock_timestamp()",
            [run_id, self._site.encode()],
        )

    def renew_run(self, run_id: str) -> None:
        """Show that the carrier of a run lives."""
        self._database.rows(
            "UPDATE flowtoy_leases SET seen = clock_timestamp() WHERE run_id = %s AND turn = 0",
            [run_id],
        )

    def close_run(self, run_id: str) -> None:
        """Forget a run: who still holds a step of it writes nothing from now on."""
        self._database.rows("DELETE FROM flowtoy_leases WHERE run_id = %s", [run_id])

    def hand_out(self, message: Message, step_key: str, attempts: int, lost: str | None) -> int:
        """Offer a step; gives the id of the last event that is stored."""
        values = [message.run_id, message.turn, step_key, attempts, lost]
        return int(self._database.rows(_HAND_OUT, values)[0][0])

    def look(self, run_id: str, turns: Iterable[int]) -> Mapping[int, Standing]:
        """The states of hand-outs, by turn."""
        rows = self._database.rows(_LOOK, [LEASE, run_id, list(turns)])
        return {turn: Standing(*rest) for turn, *rest in rows}

    def give_up(self, message: Message, reason: str) -> bool:
        """Take a hand-out from a holder that was not seen for too long; whether that was so."""
        values = [reason, message.run_id, message.turn, LEASE]
        return bool(self._database.count(_GIVE_UP, values))

    def stop(self, message: Message, how: str) -> None:
        """Want the end of a hand-out: `interrupt` or `kill`. One that nobody has is withdrawn."""
        self._database.rows(_STOP, [how, message.run_id, message.turn, WAKE_CHANNEL])

    def withdraw(self, message: Message) -> bool:
        """Take back a hand-out that nobody has; whether that was so."""
        return bool(self._database.count(_WITHDRAW, [message.run_id, message.turn]))

    def listening(self, queue: str) -> list[Listener]:
        """The agents that listen to a queue; one is idle that had no step for a lease's time."""
        rows = self._database.rows(_LISTENING, [LEASE, queue, LEASE])
        return [Listener(name, host, Site.decode(site), is_idle)
                for name, host, site, is_idle in rows]

    def idle(self, queue: str) -> bool:
        """Whether an agent that takes steps of a queue could take one more of those here."""
        return bool(self._database.rows(_IDLE, [queue, LEASE, self._site.route])[0][0])

    def runs_elsewhere(self) -> list[tuple[str, Site | None]]:
        """Runs that go on at machines that have something else, and what these have."""
        rows = self._database.rows(_ELSEWHERE, [CARRIER_LEASE, self._site.encode()])
        return [(run_id, Site.decode(site)) for run_id, site in rows]

    def claim(self, message: Message, holder: str, host: str) -> Claim | None:
        """Claim a hand-out; None where another has it, or nobody wants it any more.

        An agent may claim again what is its own already: the answer may have been lost.
        """
        values = [holder, host, message.run_id, message.turn, holder, CARRIER_LEASE]
        rows = self._database.rows(_CLAIM, values)
        return Claim(message, *rows[0]) if rows else None

    def end(self, message: Message, holder: str, error: str | None, gone: str | None) -> bool:
        """End a hand-out; whether it was still the holder's."""
        channel = run_channel(message.run_id)
        values = [error, gone, message.run_id, message.turn, holder, channel]
        return bool(self._database.count(_END, values))

    def renew(self, holder: str) -> Mapping[Message, Renewal]:
        """Renew all that an agent holds; what is not in the answer is not its any more."""
        rows = self._database.rows(_RENEW, [holder, CARRIER_LEASE])
        return {Message(run_id, turn): Renewal(*rest) for run_id, turn, *rest in rows}

    def present(self, holder: str, host: str, queue: str, slots: int) -> None:
        """Show that an agent takes steps; of several queues, with a comma between them."""
        site = self._site
        self._database.rows(_PRESENT, [holder, host, queue, slots, site.encode(), site.route])

    def leave(self, holder: str) -> None:
        """An agent takes no more steps."""
        self._database.rows("DELETE FROM flowtoy_agents WHERE holder = %s", [holder])
