"""SQLite storages that keep their connections.

Dagster's own open a new engine for every event and compare schema revisions of three databases
in every process. These subclasses keep one engine for each file and process, check the schema
once for each version of Dagster in a home, don't wait for the disk at each event of a step, and
give a new run's database by copying an empty one. The files are Dagster's own: a home can be read
by an installation without this class, and the other way round.
"""

import contextlib
import fcntl
import os
import shutil
import sqlite3
import tempfile
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import EventLogEntry, StringSource
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DatabaseError
from watchdog.observers import Observer

from flowtoy_dagster.datafiles.regular import read_regular
from flowtoy_dagster.engine.dagster_private.storage import (
    ASSET_CHECK_EVENTS,
    ASSET_EVENTS,
    EVENT_TYPE_TO_PIPELINE_RUN_STATUS,
    INDEX_SHARD_NAME,
    ConfigurableClassData,
    DagsterSqliteStorage,
    DagsterStorage,
    SqliteEventLogStorage,
    SqliteRunStorage,
    SqliteScheduleStorage,
    UserConfigSchema,
    _event_logs_directory,
    _runs_directory,
    _schedule_directory,
    create_db_conn_string,
    get_alembic_config,
    runs,
    schedules,
)
from flowtoy_dagster.engine.storage.event_groups import EventGroup, Row, group_for
from flowtoy_dagster.engine.storage.plan_snapshots import KeptPlanSnapshot
from flowtoy_dagster.engine.storage.sqlite_connections import (
    BUSY_SECONDS,
    Engines,
    Writers,
    make_engine,
)
from flowtoy_dagster.engine.storage.step_events import StepRows, kind_of
from flowtoy_dagster.engine.storage.watching import RunWatch
from flowtoy_dagster.errors import HomeError, system_reason
from flowtoy_dagster.store.files import make_private_folder, remove_any

_MIRRORED = frozenset(
    kind.value for kind in (*ASSET_EVENTS, *ASSET_CHECK_EVENTS, *EVENT_TYPE_TO_PIPELINE_RUN_STATUS)
)
"""Events that are also stored in the index of all runs."""
_INSERT = (
    "INSERT INTO event_logs "
    "(run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition) VALUES "
    "(:run_id, :event, :dagster_event_type, :timestamp, :step_key, :asset_key, :partition)"
)
_HAS_EVENTS = "SELECT 1 FROM sqlite_master WHERE name = 'event_logs'"
_NOT_OPENED = "unable to open database file"
_migrating = threading.RLock()
_EMPTY_SHARD = f"empty-{dg.__version__}.shard"


class WarmEventLogStorage(StepRows, SqliteEventLogStorage):
    """Dagster's event log in SQLite, with its connections kept.

    Attributes:
        group: what holds events back in a process that works for one run.
    """

    _obs: Any
    group: EventGroup | None = None

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines = Engines()
        self._writers = Writers(self._open_writer)
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "WarmEventLogStorage":
        return cls(inst_data=inst_data, **config_value)

    @contextlib.contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        engine = self._engines.get(self.conn_string_for_shard(shard))
        try:
            if shard not in self._initialized_dbs:
                with self._db_lock:
                    try:
                        self._make_ready(shard, engine)
                    except OSError as error:
                        place, reason = self.path_for_shard(shard), system_reason(error)
                        raise HomeError(f"the database {place} can't be made: {reason}") from None
                    self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection
        except DatabaseError as error:
            # What can be tried again, such as a lock, is of another class.
            if type(error.orig) is not sqlite3.DatabaseError and str(error.orig) != _NOT_OPENED:
                raise
            raise self._unreadable(shard, str(error.orig)) from None

    def _unreadable(self, shard: str, reason: str) -> HomeError:
        return HomeError(f"the database {self.path_for_shard(shard)} can't be read: {reason}")

    def _make_ready(self, shard: str, engine: Engine) -> None:
        path = Path(self.path_for_shard(shard))
        if os.path.lexists(path) and not path.is_file():
            raise self._unreadable(shard, "it is no file")
        if path.exists() and path.stat().st_size:
            if _has_events(engine):
                return
        elif shard != INDEX_SHARD_NAME and not path.exists():
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part") as beside:
                shutil.copyfile(self._empty_shard(), beside.name)
                # A link fails where another process was first; then its file is as good.
                with contextlib.suppress(FileExistsError):
                    os.link(beside.name, path)
            return
        _touch_private(path)
        with _alone_in(self._base_dir):
            if not _has_events(engine):
                self._initdb(engine, for_index_shard=shard == INDEX_SHARD_NAME)

    def _empty_shard(self) -> Path:
        """An empty run's database, made once for each version of Dagster."""
        path = Path(self._base_dir) / _EMPTY_SHARD
        if not _is_whole(path):
            with _alone_in(self._base_dir):
                if not _is_whole(path):
                    self._make_empty_shard(path)
        return path

    def _make_empty_shard(self, path: Path) -> None:
        with tempfile.TemporaryDirectory(dir=self._base_dir) as folder:
            engine = make_engine(create_db_conn_string(folder, "empty"))
            _touch_private(Path(folder) / "empty.db")
            self._initdb(engine)
            engine.dispose()
            remove_any(path)
            os.replace(Path(folder) / "empty.db", path)

    def delete_events(self, run_id: str) -> None:
        """As Dagster's own does; a run's database that can't be read goes as a whole."""
        try:
            super().delete_events(run_id)
        except HomeError:
            path = self.path_for_shard(run_id)
            self._engines.forget(self.conn_string_for_shard(run_id))
            self._initialized_dbs.discard(run_id)
            for name in (path, f"{path}-wal", f"{path}-shm"):
                remove_any(Path(name))
            super().delete_events(run_id)

    def store_event(self, event: EventLogEntry) -> None:
        """As Dagster's own does; what goes into the run's database alone goes there directly."""
        group = group_for(self)
        if kind_of(event) in _MIRRORED:
            if group is not None:
                group.flush()
            super().store_event(event)
            return
        row = self._event_to_row(event)
        row["timestamp"] = row["timestamp"].isoformat(sep=" ", timespec="microseconds")
        if group is None:
            self.insert([row])
        else:
            group.add(row)

    def insert(self, rows: Sequence[Row]) -> None:
        """Store events of one run, all of them or none."""
        self._writers.insert(rows[0]["run_id"], _INSERT, rows)

    def _open_writer(self, run_id: str) -> sqlite3.Connection:
        path = self.path_for_shard(run_id)
        if not _is_there(path):
            with self._connect(run_id):
                """Makes the database ready."""
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        # With WAL a power cut may lose the last events, and never corrupts the file.
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def watch(self, run_id: str, cursor: str | None, callback: Callable[..., Any]) -> None:
        """As Dagster's own does, with what notices changes in time."""
        if not self._obs:
            self._obs = Observer()
            self._obs.start()
        handler = RunWatch(self, run_id, callback, cursor)
        self._watchers[run_id][callback] = (
            handler,
            self._obs.schedule(handler, self._base_dir, recursive=True),
        )
        # What was written before this is no change any more.
        handler.tell()

    def has_table(self, table_name: str) -> bool:
        # In a new home the tables are made now: the answer is asked for once, and kept.
        with self.index_connection() as connection:
            return bool(connection.dialect.has_table(connection, table_name))

    def dispose(self) -> None:
        super().dispose()
        self._writers.close()
        self._engines.close()


class _KeptConnections:
    """What the run and schedule storages have in common: one database, and its engine kept."""

    _conn_string: str

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines = Engines()
        super().__init__(conn_string, inst_data)  # type: ignore[call-arg] # of the other storage

    @contextlib.contextmanager
    def connect(self) -> Iterator[Connection]:
        with self._engines.get(self._conn_string).begin() as connection:
            yield connection

    def dispose(self) -> None:
        super().dispose()  # type: ignore[misc] # of the other storage
        self._engines.close()


class WarmRunStorage(KeptPlanSnapshot, _KeptConnections, SqliteRunStorage):
    """Dagster's run storage in SQLite, with its connections kept."""


class WarmScheduleStorage(_KeptConnections, SqliteScheduleStorage):
    """Dagster's schedule storage in SQLite, with its connections kept."""


class WarmStorage(DagsterSqliteStorage):
    """The three storages of a home, at the places where Dagster's own keep them.

    `base_dir` is the home folder. A file named for Dagster's version marks that the schemas
    were checked by it, and holds the revision that it found.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        DagsterStorage.__init__(self)  # type: ignore[arg-type] # its type variable is unbound
        self.base_dir = base_dir
        self._inst_data = inst_data
        self._runs_url = create_db_conn_string(_runs_directory(base_dir), "runs")
        self._schedules_url = create_db_conn_string(_schedule_directory(base_dir), "schedules")
        for folder in (_event_logs_directory(base_dir), _schedule_directory(base_dir)):
            make_private_folder(Path(folder))
        if not self._is_ready():
            with _alone_in(_runs_directory(base_dir)):
                if not self._is_ready():
                    self._make_ready()
        self._run_storage: SqliteRunStorage = WarmRunStorage(self._runs_url)
        self._schedule_storage: SqliteScheduleStorage = WarmScheduleStorage(self._schedules_url)
        self._event_log_storage: SqliteEventLogStorage = WarmEventLogStorage(
            _event_logs_directory(base_dir)
        )

    @property
    def _checked(self) -> Path:
        return Path(self.base_dir) / "history" / f"schema-checked-{dg.__version__}"

    def _is_ready(self) -> bool:
        files = (self._runs_url, self._schedules_url)
        try:
            with read_regular(self._checked) as file:
                checked = file.read()
        except OSError:
            return False
        # Another version of Dagster may have changed the schema since.
        return all(map(_file_of, files)) and checked == _revision_of(self._runs_url).encode()

    def _make_ready(self) -> None:
        for url, package in ((self._runs_url, runs), (self._schedules_url, schedules)):
            revision = _revision_of(url)
            if revision and not _knows_revision(package, revision):
                raise HomeError(
                    f"the home folder {self.base_dir} was made by a newer version of Dagster "
                    f"than {dg.__version__}\n    update dagster, or use another home"
                )
        index = Path(_event_logs_directory(self.base_dir)) / f"{INDEX_SHARD_NAME}.db"
        databases = (Path(url.removeprefix("sqlite:///"))
                     for url in (self._runs_url, self._schedules_url))
        if not self._checked.is_file():
            remove_any(self._checked)
        for file in (*databases, index, self._checked):
            _touch_private(file)
        WarmRunStorage.from_local(_runs_directory(self.base_dir)).dispose()
        SqliteScheduleStorage.from_local(_schedule_directory(self.base_dir)).dispose()
        WarmEventLogStorage(_event_logs_directory(self.base_dir)).dispose()
        self._checked.write_text(_revision_of(self._runs_url))

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {"base_dir": StringSource}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "WarmStorage":
        return cls(inst_data=inst_data, **config_value)


def _is_there(path: str) -> bool:
    """Whether a file is a database with the table of events; without a library's engine for it."""
    if not os.path.exists(path):
        return False
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as opened:
        return opened.execute(_HAS_EVENTS).fetchone() is not None


def _is_whole(path: Path) -> bool:
    """Whether a database that is to be copied is there, with all its pages and the table."""
    if not (path.is_file() and path.stat().st_size):
        return False
    # It is not written any more: so nothing is made next to it.
    address = f"{path.as_uri()}?immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as opened:
            is_sound = opened.execute("PRAGMA quick_check").fetchone() == ("ok",)
            return is_sound and opened.execute(_HAS_EVENTS).fetchone() is not None
    except sqlite3.Error:
        return False


def _has_events(engine: Engine) -> bool:
    """Whether a database has the table of events."""
    with engine.connect() as connection:
        found = connection.exec_driver_sql(_HAS_EVENTS).first()
    return found is not None


def _touch_private(path: Path) -> None:
    """Make an empty file for its owner alone, where there is none; SQLite keeps its mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


@contextlib.contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """Let one thread of one process make databases in a folder: Dagster's migrations can't share.

    What runs them has one context for all threads of a process, also for those with other homes.
    """
    lock = Path(folder) / "making.lock"
    _touch_private(lock)
    with _migrating, open(lock, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _revision_of(conn_string: str) -> str:
    """The schema's revision in a database; empty where it has none."""
    if not _file_of(conn_string):
        return ""
    path = conn_string.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as opened:
        try:
            row = opened.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:
            return ""
        except sqlite3.DatabaseError as error:
            raise HomeError(f"the database {path} can't be read: {error}") from None
    return str(row[0]) if row else ""


def _knows_revision(package: types.ModuleType, revision: str) -> bool:
    """Whether this version of Dagster has heard of a revision of one of its storages."""
    # Not needed for a home that is ready, and slow to import.
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    config = get_alembic_config(str(Path(package.__file__ or "").parent / "sqlite" / "x.py"))
    try:
        return ScriptDirectory.from_config(config).get_revision(revision) is not None
    except CommandError:
        return False


def _file_of(conn_string: str) -> bool:
    path = conn_string.removeprefix("sqlite:///")
    return os.path.exists(path) and os.path.getsize(path) > 0
