"""Connections of this process to SQLite files, kept until others have been used more lately."""

import contextlib
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as db
from sqlalchemy.engine import Engine

from flowtoy_dagster.engine.dagster_private.storage import SQLITE_BUSY_TIMEOUT_SECONDS

BUSY_SECONDS = SQLITE_BUSY_TIMEOUT_SECONDS
"""How long to wait for a file that another process has locked."""
MOST_ENGINES = 32
"""Databases that a process keeps open; a web server looks at many runs."""
MOST_WRITERS = 8


class Engines:
    """The SQLite engines of this process, the longest unused closed first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._pid = os.getpid()

    def get(self, conn_string: str) -> Engine:
        """The engine for a database."""
        with self._lock:
            if self._pid != os.getpid():
                # SQLite connections must not cross a fork, not even to be closed.
                self._abandoned = self._engines
                self._engines, self._pid = OrderedDict(), os.getpid()
            engine = self._engines.pop(conn_string, None) or make_engine(conn_string)
            self._engines[conn_string] = engine
            while len(self._engines) > MOST_ENGINES:
                self._engines.popitem(last=False)[1].dispose()
            return engine

    def forget(self, conn_string: str) -> None:
        """Close the connections to a database, whose file will be another one."""
        with self._lock:
            engine = self._engines.pop(conn_string, None)
            if engine is not None and self._pid == os.getpid():
                engine.dispose()

    def close(self) -> None:
        """Close all connections of this process."""
        with self._lock:
            if self._pid == os.getpid():
                for engine in self._engines.values():
                    engine.dispose()
            self._engines = OrderedDict()


def make_engine(conn_string: str) -> Engine:
    """An engine for a SQLite file, whose commits wait for the disk."""
    engine = db.create_engine(
        conn_string,
        connect_args={"timeout": BUSY_SECONDS},
        pool_size=4,
        max_overflow=64,
    )
    db.event.listen(engine, "connect", _wait_for_the_disk)
    return engine


def _wait_for_the_disk(connection: sqlite3.Connection, _: Any) -> None:
    # A commit flushes the log of the file: what others have written without waiting, too. So the
    # event of a run's end makes all events of its steps durable.
    connection.execute("PRAGMA synchronous=FULL")


class _Writer:
    """A connection for inserting events, which one thread at a time uses."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._lock = threading.Lock()

    def insert(self, statement: str, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Insert rows, unless the connection has been closed; whether it was there."""
        with self._lock:
            if self._connection is None:
                return False
            if len(rows) == 1:
                self._connection.execute(statement, rows[0])
            else:
                self._insert_all(self._connection, statement, rows)
            return True

    def _insert_all(
        self, connection: sqlite3.Connection, statement: str, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(statement, rows)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # a full disk has ended it already
                connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the connection; letting go of it would not: it is part of a cycle."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None


class Writers:
    """Connections of this process for inserting events, the longest unused closed first.

    Args:
        open_writer: opens one for a run.
    """

    def __init__(self, open_writer: Callable[[str], sqlite3.Connection]) -> None:
        self._open = open_writer
        self._lock = threading.Lock()
        self._writers: OrderedDict[str, _Writer] = OrderedDict()
        self._pid = os.getpid()

    def insert(self, run_id: str, statement: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows into a run's database, as a transaction of their own."""
        while not self._get(run_id).insert(statement, rows):
            """Another thread needed so many others that this one was closed meanwhile."""

    def _get(self, run_id: str) -> _Writer:
        with self._lock:
            if self._pid != os.getpid():
                # Not to be closed either: they belong to the process that forked us.
                self._abandoned = self._writers
                self._writers, self._pid = OrderedDict(), os.getpid()
            writer = self._writers.pop(run_id, None) or _Writer(self._open(run_id))
            self._writers[run_id] = writer
            while len(self._writers) > MOST_WRITERS:
                self._writers.popitem(last=False)[1].close()
            return writer

    def close(self) -> None:
        """Close all connections of this process."""
        with self._lock:
            if self._pid == os.getpid():
                for writer in self._writers.values():
                    writer.close()
            self._writers = OrderedDict()
