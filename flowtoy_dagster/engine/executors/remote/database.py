"""One connection to the database of runs, for a process that also listens on it."""

from __future__ import annotations

import contextlib
import logging
import select
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from flowtoy_dagster.engine.storage.address import storage_address
from flowtoy_dagster.engine.storage.connections.answer_limit import AnswerLimit
from flowtoy_dagster.engine.storage.connections.limited import LimitedConnection
from flowtoy_dagster.engine.storage.postgres import CONNECTING as STORAGE_CONNECTING
from flowtoy_dagster.errors import HomeError, RunError
from flowtoy_dagster.masking.mask import STORAGE_VARIABLE, Mask, storage_secrets

logger = logging.getLogger("flowtoy.storage")

CONNECTING = {**STORAGE_CONNECTING, "keepalives_idle": 10, "tcp_user_timeout": 10_000}
"""How a connection is made where the address says nothing else: leases are shorter than that
of a storage may be away."""
PAUSE = 0.3
_LOCK = 0x666C6F78
"""Held by the process that makes tables."""
_GONE = (
    psycopg2.OperationalError, psycopg2.InterfaceError,
    # The server is a replica now, or out of space: the address may lead to another one soon.
    psycopg2.errors.ReadOnlySqlTransaction,
)
_AGAIN = (psycopg2.errors.DeadlockDetected, psycopg2.errors.SerializationFailure)


class DatabaseAwayError(RunError):
    """The database does not answer."""


class Database:
    """A connection that is made anew when it breaks.

    Args:
        address: a URL of PostgreSQL.
        patience: seconds for which a statement waits for a database that does not answer.
    """

    def __init__(self, address: str, patience: float) -> None:
        self._address = _plain(address)
        self._mask = Mask(storage_secrets({STORAGE_VARIABLE: address}))
        self._patience = patience
        self._channels: list[str] = []
        self._connection: Any = None
        self._limit = AnswerLimit()
        self.connected = 0
        """How often a connection was made: when it grows, the database was away."""

    @classmethod
    def of_runs(cls, patience: float) -> Database:
        """The database that FLOWTOY_STORAGE names.

        Raises:
            HomeError: it names none, or it can't be reached.
        """
        address = storage_address()
        if address is None:
            raise HomeError(f"{STORAGE_VARIABLE} is not set")
        made = cls(address, patience)
        try:
            made._connect()
        except _GONE as error:
            raise HomeError(
                f"the database that {STORAGE_VARIABLE} names can't be used: {made._reason(error)}"
            ) from None
        return made

    def rows(self, statement: str, values: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Execute a statement, again where the connection broke; gives its rows.

        Raises:
            DatabaseAwayError: the database does not answer, for longer than the patience.
        """
        give_up_at: float | None = None
        while True:
            try:
                return self._execute(statement, values)
            except _AGAIN:
                continue
            except _GONE as error:
                self.close()
                now = time.monotonic()
                if give_up_at is None:
                    give_up_at = now + self._patience
                    if self._patience:
                        logger.warning(
                            "waiting for the database of runs: %s", self._reason(error)
                        )
                if now >= give_up_at:
                    raise DatabaseAwayError(
                        f"the database of runs does not answer: {self._reason(error)}"
                    ) from None
            time.sleep(PAUSE)

    def count(self, statement: str, values: Sequence[Any] | None = None) -> int:
        """Execute a statement that returns a row for each row it changed; gives how many."""
        return len(self.rows(statement, values))

    def make_tables(self, last: str, statements: str) -> None:
        """Make tables and indexes, unless they are there; for processes that do so at once.

        Args:
            last: the name of what is made last.
            statements: make them.

        Raises:
            psycopg2.Error: they can't be made.
        """
        if self.rows("SELECT to_regclass(%s) IS NOT NULL", [last])[0][0]:
            return
        self.rows(f"SELECT pg_advisory_lock({_LOCK})")
        try:
            self.rows(statements)
        finally:
            self.rows(f"SELECT pg_advisory_unlock({_LOCK})")

    def listen(self, *channels: str) -> None:
        """Listen to notifications."""
        self._channels += channels
        for channel in channels:
            self.rows(f'LISTEN "{channel}"')

    def fileno(self) -> int:
        """For waiting on notifications; -1 while there is no connection."""
        if self._connection is None or self._connection.closed:
            return -1
        return int(self._connection.fileno())

    def wait(self, timeout: float) -> None:
        """Wait for a notification, at most for some seconds; forgets those that came."""
        if not self.notified():
            descriptor = self.fileno()
            select.select([descriptor] if descriptor >= 0 else [], [], [], max(0.0, timeout))
            self.notified()

    def notified(self) -> bool:
        """Whether a notification has come since the last call; does not wait."""
        if self.fileno() < 0:
            return False
        try:
            self._connection.poll()
        except _GONE:
            self.close()
            return False
        found = bool(self._connection.notifies)
        self._connection.notifies.clear()
        return found

    def close(self) -> None:
        """Close the connection; the next statement makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg2.Error):
                connection.close()

    def _execute(self, statement: str, values: Sequence[Any] | None) -> list[tuple[Any, ...]]:
        if self._connection is None:
            self._connect()
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    def _connect(self) -> None:
        settings = {name: value for name, value in CONNECTING.items()
                    if f"{name}=" not in self._address}
        # A lease is shorter than a statement that the server may take longer for.
        make = partial(LimitedConnection, self._limit, False)
        connection = psycopg2.connect(self._address, connection_factory=make, **settings)
        self._connection = connection
        self.connected += 1
        with connection.cursor() as cursor:
            for channel in self._channels:
                cursor.execute(f'LISTEN "{channel}"')

    def _reason(self, error: BaseException) -> str:
        lines = [line.strip() for line in str(error).splitlines()]
        return self._mask.text("; ".join(filter(None, lines)).replace("FATAL:  ", ""))


def _plain(address: str) -> str:
    """The address without SQLAlchemy's name of a driver."""
    scheme, _, rest = address.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"
