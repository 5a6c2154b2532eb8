"""PostgreSQL storages that keep their connections.

Dagster's own connect anew for every event, for every question and for each of three storages,
and look for their tables in every process. These share one engine, which keeps one connection for
each thread that uses it, look once, and store an event with one statement. The tables are
Dagster's own: a database can be used by an installation without this class, and the other way
round.
"""

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import dagster
import sqlalchemy as db
from dagster import EventLogEntry
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from dagster_postgres.utils import (
    DagsterPostgresException,
    create_pg_engine,
    get_token_provider_from_config,
    pg_url_from_config,
)
from sqlalchemy.engine import Connection, CursorResult, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, OperationalError

from flowtoy_dagster.engine.dagster_private.storage import (
    ASSET_CHECK_EVENTS,
    ASSET_EVENTS,
    EVENT_TYPE_TO_PIPELINE_RUN_STATUS,
    ConfigurableClassData,
    DagsterStorage,
)
from flowtoy_dagster.engine.fence import OURS, Fence, wait_to_be_killed
from flowtoy_dagster.engine.storage.address import PATIENCE, NoConnectionError
from flowtoy_dagster.engine.storage.connections.answer_limit import AnswerLimit
from flowtoy_dagster.engine.storage.connections.broken import again_where_broken
from flowtoy_dagster.engine.storage.connections.limited import LimitedConnection
from flowtoy_dagster.engine.storage.event_groups import EventGroup, Row, group_for
from flowtoy_dagster.engine.storage.plan_snapshots import KeptPlanSnapshot
from flowtoy_dagster.engine.storage.step_events import StepRows, kind_of
from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.masking.mask import STORAGE_VARIABLE, Mask, storage_secrets

logger = logging.getLogger("flowtoy.storage")
T = TypeVar("T")

CONNECTING = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "tcp_user_timeout": 30_000,
    "fallback_application_name": "flowtoy",
}
"""How connections are made where the address says nothing else; the last but one in ms."""
DRIVER = "postgresql+psycopg2"
IDLE = 0.5
"""Seconds after which a connection is tried before it is used: the server may be another one, or
have ended what was idle. To try costs less than a millisecond."""
PAUSE = 0.5
MAKING_TABLES = 0x666C6F77
"""The number of the lock under which one process at a time makes the tables."""
_TABLES = ("alembic_version", "event_logs", "runs", "instance_info", "jobs")
_LOOK = "SELECT " + ", ".join(f"to_regclass('{table}') IS NOT NULL" for table in _TABLES)
_INSERT = (
    "INSERT INTO event_logs "
    "(run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition) VALUES "
    "(%(run_id)s, %(event)s, %(dagster_event_type)s, %(timestamp)s, %(step_key)s, "
    "%(asset_key)s, %(partition)s)"
)
_IS_STORED = "SELECT FROM event_logs WHERE run_id = %(run_id)s AND event = %(event)s"
# The lock holds off whoever would give the step to another process in this moment.
_INSERT_IF_OURS = (
    f"{_INSERT.replace(') VALUES (', ') SELECT ')[:-1]} "
    f"WHERE EXISTS ({OURS} FOR SHARE)"
)
# A crash of the server may lose the last events of a running step, never those of a run's end:
# what is written after them, and waited for, takes them along.
_QUICKLY = "SET LOCAL synchronous_commit TO off; "
_STATES = frozenset(kind.value for kind in EVENT_TYPE_TO_PIPELINE_RUN_STATUS)
_TAGGED = frozenset(kind.value for kind in (*ASSET_EVENTS, *ASSET_CHECK_EVENTS))
"""Events that are also stored elsewhere than in the log."""


class _KeptConnections:
    """What the three storages have in common: connections out of an engine that they share."""

    _engine: Engine

    def connect(self, run_id: str | None = None) -> AbstractContextManager[Connection]:
        return _connected(self._engine)


class WarmPostgresRunStorage(KeptPlanSnapshot, _KeptConnections, PostgresRunStorage):
    """Dagster's run storage in PostgreSQL, with its connections kept."""


class WarmPostgresScheduleStorage(_KeptConnections, PostgresScheduleStorage):
    """Dagster's schedule storage in PostgreSQL, with its connections kept."""


class WarmPostgresEventLogStorage(StepRows, PostgresEventLogStorage):
    """Dagster's event log in PostgreSQL, with its connections kept.

    Attributes:
        fence: by what this process holds the step that it runs; None where no other may have it.
        group: what holds events back in a process that works for one run.
    """

    fence: Fence | None = None
    group: EventGroup | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._asking = threading.Lock()

    def _connect(self) -> AbstractContextManager[Connection]:
        return _connected(self._engine)

    def store_event(self, event: EventLogEntry) -> None:
        """As Dagster's own does, in one statement and without telling listeners, who are gone."""
        group = group_for(self)
        if kind_of(event) in _TAGGED:
            if group is not None:
                group.flush()
            super().store_event(event)
        elif group is None:
            self.insert([self._event_to_row(event)])
        else:
            group.add(self._event_to_row(event))

    def insert(self, rows: Sequence[Row]) -> None:
        """Store events with one question to the server, all of them or none."""
        insert, held_by = _INSERT, {}
        if self.fence is not None:
            insert, held_by = _INSERT_IF_OURS, dict(self.fence.values())
        statements, values = [], {}
        for number, row in enumerate(rows):
            named = {**row, **held_by}
            statements.append(insert % {name: f"%({name}_{number})s" for name in named})
            values.update({f"{name}_{number}": value for name, value in named.items()})
        quickly = "" if any(row["dagster_event_type"] in _STATES for row in rows) else _QUICKLY
        if not self._stored(quickly + "; ".join(statements), values, rows[-1]):
            wait_to_be_killed()

    def _stored(self, statements: str, values: Mapping[str, Any], last: Row) -> int:
        """Execute what stores rows, again where it was not stored; gives how many were it last."""
        try:
            return self._exchanged_once(statements, values, _count)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            # It may be that only the answer was lost.
            return self._execute(_IS_STORED, last) or self._execute(statements, values)

    def is_ours(self) -> bool:
        """Whether this process may store what its step comes to."""
        return self.fence is None or bool(self._execute(OURS, self.fence.values()))

    def _execute(self, statement: str, values: Mapping[str, Any]) -> int:
        """Execute a statement; gives how many rows it inserted or found."""
        return self._exchanged(statement, values, _count)

    def _exchanged(
        self, statements: str, values: Mapping[str, Any], take: Callable[[CursorResult[Any]], T]
    ) -> T:
        """What `take` finds in the result of statements."""
        # The server may have been started anew since the last exchange.
        return again_where_broken(lambda: self._exchanged_once(statements, values, take))

    def _exchanged_once(
        self, statements: str, values: Mapping[str, Any], take: Callable[[CursorResult[Any]], T]
    ) -> T:
        with self._connect() as connection:
            return take(connection.exec_driver_sql(statements, dict(values)))

    def rows(self, statements: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute statements of flowtoy's own, together or not at all; gives the last one's rows.

        Args:
            statements: with a semicolon between them.
            values: what they name.

        Raises:
            OSError: the database can't be used, or does not execute them; says why.
        """
        with self._asking:  # so that one connection does for all threads
            try:
                return self._exchanged(
                    statements, values, lambda found: [tuple(row) for row in found]
                )
            except DBAPIError as error:
                raise _unusable(error, self.postgres_url) from None

    def dispose(self) -> None:
        super().dispose()
        self._engine.dispose()


class WarmPostgresStorage(DagsterPostgresStorage):
    """The three storages of a home whose runs are in a database.

    Configured as Dagster's own, `DagsterPostgresStorage`.
    """

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: Any = None,
    ) -> None:
        url = _normalised(postgres_url)
        try:
            engine = _make_engine(url, token_provider)
            if should_autocreate_tables:
                with engine.connect() as connection:
                    _make_ready(connection, url, token_provider)
        except (DBAPIError, DagsterPostgresException, ArgumentError, ValueError) as error:
            name = STORAGE_VARIABLE if os.environ.get(STORAGE_VARIABLE) else "dagster.yaml"
            kind = NoConnectionError if isinstance(error, OperationalError) else HomeError
            raise kind(
                f"the database that {name} names can't be used: {_reason(error, url)}"
            ) from None
        DagsterStorage.__init__(self)  # type: ignore[arg-type] # its type variable is unbound
        self.postgres_url = url
        self.should_autocreate_tables = should_autocreate_tables
        self._inst_data = inst_data
        # Told not to look for tables, they connect to nothing.
        self._run_storage = WarmPostgresRunStorage(url, False)
        self._event_log_storage = WarmPostgresEventLogStorage(url, False)
        self._schedule_storage = WarmPostgresScheduleStorage(url, False)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = engine

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "WarmPostgresStorage":
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )


def _count(found: CursorResult[Any]) -> int:
    return found.rowcount


def _unusable(error: DBAPIError, url: str) -> OSError:
    return OSError(f"the database of runs: {_reason(error, url)}")


def _normalised(url: str) -> str:
    """The address with its driver, which SQLAlchemy would choose by its own version."""
    scheme, found, rest = url.partition("://")
    return f"{DRIVER}://{rest}" if found and scheme in ("postgresql", "postgres") else url


def _make_engine(url: str, token_provider: Any) -> Engine:
    written = db.make_url(url).query
    engine = create_pg_engine(
        url,
        token_provider,
        isolation_level="AUTOCOMMIT",
        pool_size=1,
        max_overflow=64,
        use_native_hstore=False,  # else each connection asks for a type that is never used
        connect_args={
            **{name: value for name, value in CONNECTING.items() if name not in written},
            "connection_factory": partial(LimitedConnection, _limit, True),
        },
    )
    db.event.listen(engine, "checkin", _note_the_time)
    db.event.listen(engine, "checkout", _try_if_idle)
    _engines.add(engine)
    return engine


@contextlib.contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    """A connection. A server that does not answer may be on its way back, and is waited for."""
    while (connection := _reached(engine)) is None:
        time.sleep(PAUSE)
    with connection:
        yield connection


def _reached(engine: Engine) -> Connection | None:
    try:
        connection = engine.connect()
    except OperationalError as error:
        if engine not in _unreachable_since:
            _unreachable_since[engine] = time.monotonic()
            logger.warning("waiting for the database of runs: %s", _reason(error, ""))
        # When it has been waited for in vain, what else is to be stored does not wait.
        if time.monotonic() > _unreachable_since[engine] + PATIENCE:
            raise
        return None
    _unreachable_since.pop(engine, None)
    return connection


def _note_the_time(_: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


def _try_if_idle(connection: Any, record: Any, _: Any) -> None:
    if time.monotonic() - record.info.get("used", time.monotonic()) < IDLE:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except connection.Error:
        raise DisconnectionError from None


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_limit = AnswerLimit()
_unreachable_since: weakref.WeakKeyDictionary[Engine, float] = weakref.WeakKeyDictionary()


def _leave_to_parent() -> None:
    """Forget the connections of the process that forked this one, without closing them."""
    _limit.begin_anew()
    for engine in _engines:
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_leave_to_parent)


def _make_ready(connection: Connection, url: str, token_provider: Any) -> None:
    """Make the tables where there are none.

    Raises:
        HomeError: a newer version of Dagster has made them.
    """
    if not _is_ready(connection):
        connection.exec_driver_sql("SELECT pg_advisory_lock(%s)", (MAKING_TABLES,))
        try:
            if not _is_ready(connection):
                for kind in (PostgresRunStorage, PostgresEventLogStorage, PostgresScheduleStorage):
                    kind(url, token_provider=token_provider)
        finally:
            connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (MAKING_TABLES,))
    revisions = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars()
    for revision in revisions:
        if not _knows(revision):
            raise HomeError(
                "the database of runs was made by a newer version of Dagster than "
                f"{dagster.__version__}\n    update dagster, or use another database"
            )


def _is_ready(connection: Connection) -> bool:
    return all(connection.exec_driver_sql(_LOOK).one())


def _knows(revision: str) -> bool:
    """Whether this version of Dagster has heard of a revision of the tables."""
    # Reading the scripts is quicker by far than having the migrations' library load them.
    folder = Path(dagster.__file__).parent / "_core" / "storage" / "alembic" / "versions"
    line = f'revision = "{revision}"'
    return any(line in path.read_text(encoding="utf-8") for path in folder.glob("*.py"))


def _reason(error: BaseException, url: str) -> str:
    """What the database says, on one line and without a password."""
    while isinstance(error, DagsterPostgresException) and error.__cause__ is not None:
        error = error.__cause__
    if not isinstance(error, DBAPIError):
        return "its address is not valid"
    lines = [line.strip() for line in str(error.orig).splitlines()]
    text = "; ".join(filter(None, lines)).replace("FATAL:  ", "")
    return Mask(storage_secrets({STORAGE_VARIABLE: url})).text(text)
