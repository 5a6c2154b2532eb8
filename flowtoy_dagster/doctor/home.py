"""The home folder, and the history of runs."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from flowtoy_dagster.doctor.folders import (
    first_that_exists,
    free_space,
    is_on_network,
    problem_of,
)
from flowtoy_dagster.doctor.revisions import examine_revision
from flowtoy_dagster.engine.health.database import Reader, reading
from flowtoy_dagster.engine.storage.address import check_storage, storage_address
from flowtoy_dagster.engine.storage.home import (
    CONFIG_FILE,
    check_owners,
    check_path,
    home_folder,
    is_new,
    open_mode,
)
from flowtoy_dagster.errors import HomeError, system_reason
from flowtoy_dagster.health import Health, fault_of

HOME, DATABASE = "home", "database"
_SPARE = 5
"""Connections that must be left for a run to start."""
_SQLITE = b"SQLite format 3\0"


def examine_home() -> Iterator[Health]:
    """The home folder, as it is: it is not made, and not closed to others."""
    try:
        home = home_folder()
        check_path(home)
        if not home.is_dir():
            yield from _missing(home)
            return
        check_owners(home)
        mode = open_mode(home)
    except HomeError as error:
        yield fault_of(HOME, error)
        return
    except OSError as error:
        reason = system_reason(error)
        yield Health(HOME, "fault", f"the home folder can't be read: {reason}",
                     "set FLOWTOY_HOME to a folder that you can write")
        return
    problem = problem_of(home)
    if problem is not None:
        yield Health(HOME, "fault", *problem)
        return
    if mode:
        yield Health(HOME, "fault", f"{home} is open to other users (mode {mode:04o})",
                     f"chmod 0700 {home}")
    else:
        yield Health(HOME, "ok", f"{home}, {free_space(home)}")


def _missing(home: Path) -> Iterator[Health]:
    above = first_that_exists(home)
    problem = problem_of(above)
    if problem is None:
        yield Health(HOME, "ok", f"{home} does not exist yet: the first command makes it")
    else:
        text, fix = problem
        yield Health(HOME, "fault", f"{home} can't be made: {text}",
                     f"{fix}; or set FLOWTOY_HOME to a folder that you can write")


def examine_database() -> Iterator[Health]:
    """Where the history of runs is, and whether it answers."""
    try:
        address, home = storage_address(), home_folder()
        if home.is_dir() and not is_new(home):
            check_storage(home / CONFIG_FILE)
        if address is None:
            yield from _files_of(home)
            return
        with reading() as reader:
            yield from _answers_of(reader)
    except HomeError as error:
        yield fault_of(DATABASE, error)
    except OSError as error:
        yield Health(DATABASE, "fault", f"the home can't be read: {system_reason(error)}",
                     "see what is said of the home")


def _answers_of(reader: Reader) -> Iterator[Health]:
    version, name, user, encoding, is_replica, is_read_only, most, used = reader.rows(
        "SELECT current_setting('server_version'), current_database(), current_user, "
        "current_setting('server_encoding'), pg_is_in_recovery(), "
        "(SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only') = 'on', "
        "current_setting('max_connections')::int "
        "- current_setting('superuser_reserved_connections')::int, "
        "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"
    )[0]
    text = f"PostgreSQL {version.partition(' ')[0]}, {used} of {most} connections used"
    faults = list(_faults_of(name, user, encoding, most - used))
    faults += _faults_of_writing(name, is_replica=is_replica, is_read_only=is_read_only)
    yield Health(DATABASE, "ok", text) if not faults else Health(DATABASE, "off", text)
    yield from faults
    if not reader.has("runs"):
        may = reader.one("SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)")
        if may:
            yield Health(DATABASE, "ok", "no tables yet: the first command makes them")
        else:
            yield Health(DATABASE, "fault", f"'{user}' may not make tables in '{name}'",
                         f'GRANT CREATE ON SCHEMA public TO "{user}"')
        return
    if not reader.one("SELECT has_table_privilege('runs', 'INSERT, UPDATE, DELETE')"):
        yield Health(DATABASE, "fault", f"'{user}' may not write the tables in '{name}'",
                     f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{user}"')
        return
    if reader.has("alembic_version"):
        found = reader.rows("SELECT version_num FROM alembic_version")
        yield from examine_revision(
            found[0][0] if found else None, renews_itself=False
        )


def _faults_of_writing(name: str, *, is_replica: bool, is_read_only: bool) -> Iterator[Health]:
    if is_replica:
        yield Health(DATABASE, "fault", "the server is a replica, which is read-only",
                     "set FLOWTOY_STORAGE to the address of the primary server")
    elif is_read_only:
        yield Health(DATABASE, "fault", "its transactions are read-only, as of a server whose disk "
                     "is full", "see the server's log; where somebody has set it: "
                     f'ALTER DATABASE "{name}" RESET default_transaction_read_only')


def _faults_of(name: str, user: str, encoding: str, spare: int) -> Iterator[Health]:
    if spare < _SPARE:
        yield Health(DATABASE, "fault", f"only {max(0, spare)} connections are left",
                     "raise max_connections of the server, or run less at once")
    if encoding != "UTF8":
        yield Health(DATABASE, "fault", f"'{name}' has the encoding {encoding}, not UTF8",
                     f"""make it anew: CREATE DATABASE "{name}" ENCODING 'UTF8' """
                     f"""TEMPLATE template0 OWNER "{user}\"""")


def _files_of(home: Path) -> Iterator[Health]:
    path = home / "history" / "runs.db"
    settings = home / CONFIG_FILE
    text = settings.read_text(encoding="utf-8", errors="replace") if settings.exists() else ""
    if "storage:" in text and "WarmStorage" not in text:
        yield Health(DATABASE, "off", f"history is where {settings} says; that is not asked")
        return
    if not path.exists():
        yield Health(DATABASE, "off", "history is in the home; there is none yet")
        return
    try:
        with open(path, "rb") as file:
            head = file.read(len(_SQLITE))
        if head not in (b"", _SQLITE):
            raise sqlite3.DatabaseError("file is not a database")
        revision = _revision(path)
    except (OSError, sqlite3.DatabaseError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else str(error).lower()
        yield Health(DATABASE, "fault", f"{path} can't be read: {reason}",
                     "put a copy of history/ in its place, or set FLOWTOY_HOME to a new folder")
        return
    if is_on_network(home):
        yield Health(DATABASE, "fault", "history is in SQLite, on a file system of the network",
                     "move the home to a disk of this machine, or keep runs in PostgreSQL: set "
                     "FLOWTOY_STORAGE and FLOWTOY_HOME to a new folder")
    else:
        yield Health(DATABASE, "ok", "history is in the home, in SQLite")
    yield from examine_revision(revision, renews_itself=True)


def _revision(path: Path) -> str | None:
    """The revision of a database's tables; None where it is in none of its own pages yet."""
    # What is not immutable would be given files for the log of its changes, just by reading it.
    uri = f"{path.as_uri()}?mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:
            return None
    return str(found[0]) if found else None
