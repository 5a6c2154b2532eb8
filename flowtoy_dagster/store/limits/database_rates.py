"""When sources were called, shared by all machines that have one database of runs (language 19.5).

A row for each source, with a row for each of its latest calls, by the clock of the database. A turn
is one exchange with it: its first statement locks the source's row, and the last one sees all that
others did before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from flowtoy_dagster.flow.schema.rates import Rate
from flowtoy_dagster.store.limits.rates import LONGEST_PAUSE

_THERE = "SELECT to_regclass('flowtoy_calls') IS NOT NULL"
_TABLES = """
SELECT pg_advisory_xact_lock(1718382713);
CREATE TABLE IF NOT EXISTS flowtoy_rates (
    key text PRIMARY KEY, count bigint NOT NULL DEFAULT 0, capacity bigint NOT NULL DEFAULT 1,
    latest float8 NOT NULL DEFAULT '-infinity', paused_until float8 NOT NULL DEFAULT '-infinity');
CREATE TABLE IF NOT EXISTS flowtoy_calls (
    key text NOT NULL, number bigint NOT NULL, at float8 NOT NULL, PRIMARY KEY (key, number));
"""
_NOW = "coalesce(%(now)s::float8, extract(epoch FROM clock_timestamp())::float8)"
# What a crash of the server forgets is less than it takes to start again.
_LOCKED = """
SET LOCAL synchronous_commit TO off;
INSERT INTO flowtoy_rates (key) VALUES (%(key)s)
    ON CONFLICT (key) DO UPDATE SET key = excluded.key;
UPDATE flowtoy_calls AS call SET at = call.at - (source.latest - NOW)
    FROM flowtoy_rates AS source
    WHERE source.key = %(key)s AND call.key = source.key AND source.latest > NOW;
UPDATE flowtoy_rates SET latest = least(latest, NOW),
    paused_until = least(paused_until - greatest(latest - NOW, 0), NOW + %(longest)s)
    WHERE key = %(key)s AND (latest > NOW OR paused_until > NOW + %(longest)s);
"""
"""Locks the source's row. Where the clock was set back, the times of calls go back with it."""
_TAKE = """
WITH moment AS MATERIALIZED (SELECT NOW AS now),
ready AS (
    SELECT greatest(
        source.paused_until,
        source.latest + %(interval)s,
        (SELECT max(span.seconds + (
             SELECT call.at FROM flowtoy_calls AS call
             WHERE call.key = source.key AND call.number = source.count - span.calls + 1))
         FROM unnest(%(calls)s::bigint[], %(spans)s::float8[]) AS span (calls, seconds))
    ) - moment.now AS wait
    FROM flowtoy_rates AS source, moment WHERE source.key = %(key)s),
taken AS (
    UPDATE flowtoy_rates AS source SET count = source.count + 1, latest = moment.now,
        capacity = greatest(source.capacity, %(capacity)s)
    FROM moment, ready WHERE source.key = %(key)s AND ready.wait <= 0
    RETURNING source.count, source.capacity),
noted AS (
    INSERT INTO flowtoy_calls (key, number, at)
    SELECT %(key)s, taken.count, moment.now FROM taken, moment),
forgotten AS (
    DELETE FROM flowtoy_calls AS call USING taken
    WHERE call.key = %(key)s AND call.number <= taken.count - taken.capacity)
SELECT greatest(0.0, ready.wait), coalesce((SELECT count FROM taken), 0) FROM ready
"""
_PAUSE = """
UPDATE flowtoy_rates SET paused_until = greatest(paused_until, NOW + %(seconds)s)
WHERE key = %(key)s RETURNING 1
"""
_FORGET_OLD = """
DELETE FROM flowtoy_rates WHERE latest BETWEEN 0 AND NOW - %(old)s;
DELETE FROM flowtoy_calls AS call
    WHERE NOT EXISTS (SELECT FROM flowtoy_rates AS source WHERE source.key = call.key);
SELECT 1
"""
OLD = 30 * 86400.0
"""Seconds after its latest call in which a source is forgotten; longer than any window."""


class Rows(Protocol):
    """Executes statements in the database of runs, and gives the rows of the last one.

    Raises:
        OSError: they can't be executed; says why.
    """

    def __call__(self, statements: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows; `values` are what the statements name."""


class DatabaseRates:
    """The calls of the sources of all machines that have a database in common.

    Args:
        rows: executes statements there; for any thread.
        now: seconds of a clock, in place of the database's.
    """

    def __init__(self, rows: Rows, now: float | None = None) -> None:
        self._rows = rows
        self.now = now
        self._is_made = False

    def take(self, key: str, rates: Sequence[Rate]) -> float:
        """Take a turn, if it is time for one.

        Args:
            key: names the source.
            rates: what no window may exceed, the shortest window first.

        Returns:
            0 where the call may be made now, and is counted; else the seconds until it is worth
            another try.

        Raises:
            OSError: the database can't be used.
        """
        others = rates[1:]
        wait, number = self._asked(_LOCKED + _TAKE, {
            "key": key, "interval": rates[0].interval,
            "calls": [rate.calls for rate in others], "spans": [rate.seconds for rate in others],
            "capacity": max((rate.calls for rate in others), default=1),
        })
        if number == 1:
            # Sources come and go with what they are called; this one is new.
            self._asked(_FORGET_OLD, {"old": OLD})
        return float(wait)

    def pause(self, key: str, seconds: float) -> None:
        """Let nobody call the source for a time, unless it is paused for longer already.

        Raises:
            OSError: the database can't be used.
        """
        self._asked(_LOCKED + _PAUSE, {"key": key, "seconds": min(seconds, LONGEST_PAUSE)})

    def _asked(self, statements: str, values: Mapping[str, Any]) -> tuple[Any, ...]:
        if not self._is_made:
            if not self._rows(_THERE, {})[0][0]:
                self._rows(f"{_TABLES} {_THERE}", {})
            self._is_made = True
        more = {"now": self.now, "longest": LONGEST_PAUSE}
        return self._rows(statements.replace("NOW", _NOW), {**more, **values})[0]
