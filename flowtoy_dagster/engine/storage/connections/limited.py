"""Connections of psycopg2 whose statements have a limit for the silence of their server."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg2
import psycopg2.extensions as driver

from flowtoy_dagster.engine.storage.connections.answer_limit import (
    ANSWER,
    SEES_TRAFFIC,
    AnswerLimit,
)

SILENT = f"no answer for {ANSWER:g} seconds"
_WHO = "SELECT pg_backend_pid()"
# A server that waits for its client to read, or to send the next statement, is not at work.
_STATE = """
SELECT state LIKE 'idle%%' OR (state = 'active' AND %s AND wait_event = 'ClientWrite')
FROM pg_stat_activity WHERE pid = %s
"""


class LimitedConnection(driver.connection):  # type: ignore[misc] # psycopg2 has no types
    """A connection that is broken when its server gives no answer within `ANSWER` seconds.

    Args:
        limit: of the process.
        asks: whether a server may take longer that says, on another connection, that it is at work.
        address: what libpq connects to.
    """

    def __init__(self, limit: AnswerLimit, asks: bool, address: str, *rest: Any) -> None:
        super().__init__(address, *rest)
        self.cursor_factory = _LimitedCursor
        self.autocommit = True
        self.limit = limit
        self.is_served: Callable[[], bool] | None = None
        if asks:
            with self.cursor() as cursor:
                cursor.execute(_WHO)
                self.is_served = partial(is_at_work, address, cursor.fetchone()[0])


class _LimitedCursor(driver.cursor):  # type: ignore[misc] # the same
    connection: LimitedConnection

    def execute(self, query: Any, *values: Any) -> None:
        """As every cursor does.

        Raises:
            psycopg2.OperationalError: the server is away; says so where it was silent.
        """
        connection = self.connection
        with connection.limit.holds(connection.fileno(), connection.is_served) as question:
            try:
                super().execute(query, *values)
            except psycopg2.OperationalError as error:
                if question.is_given_up:
                    raise psycopg2.OperationalError(SILENT) from error
                raise


def is_at_work(address: str, backend: int) -> bool:
    """Whether a server executes a statement for one of its connections.

    Args:
        address: of the server; it is asked on a new connection.
        backend: the number of the process that serves the connection.

    Returns:
        whether that is so, or can't be told because the server takes no more connections; false
        where it does not answer.
    """
    give_up_at = time.monotonic() + ANSWER
    try:
        with contextlib.closing(psycopg2.connect(address, async_=True)) as connection:
            _wait(connection, give_up_at)
            with connection.cursor() as cursor:
                cursor.execute(_STATE, [SEES_TRAFFIC, backend])
                _wait(connection, give_up_at)
                found = cursor.fetchone()
                return found is not None and not found[0]
    except TimeoutError:
        return False
    except psycopg2.Error as error:
        return "FATAL" in str(error)


def _wait(connection: Any, give_up_at: float) -> None:
    """Wait until a connection has done what it was asked for.

    Raises:
        TimeoutError: it has not by then, by the monotonic clock.
    """
    while (state := connection.poll()) != driver.POLL_OK:
        left = give_up_at - time.monotonic()
        wanted = [connection.fileno()]
        reads, writes = (wanted, []) if state == driver.POLL_READ else ([], wanted)
        if left <= 0 or not any(select.select(reads, writes, [], left)):
            raise TimeoutError
