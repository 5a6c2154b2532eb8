"""What tells a deployment from others that use the same broker: the identity of its database."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from typing import Any

import psycopg2

from flowtoy_dagster.engine.executors.remote.database import Database, DatabaseAwayError
from flowtoy_dagster.engine.health.database import reading
from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.masking.mask import STORAGE_VARIABLE

Rows = Callable[[str, Any], list[tuple[Any, ...]]]
_TABLE = "flowtoy_deployments"
# The server's own number, and that of the database in it: a dump that is restored elsewhere has the
# rows of this one, too, and must not be taken for it.
_PLACE = "SELECT oid::text FROM pg_database WHERE datname = current_database()"
_SERVER = "SELECT system_identifier::text FROM pg_control_system()"
_MAY_ASK = """
SELECT coalesce(has_function_privilege(to_regprocedure('pg_control_system()'), 'EXECUTE'), false)
"""
_TABLES = """
CREATE TABLE IF NOT EXISTS flowtoy_deployments (place text PRIMARY KEY, id text NOT NULL)
"""
_MAKE = "INSERT INTO flowtoy_deployments (place, id) VALUES (%s, %s) ON CONFLICT (place) DO NOTHING"
_ID = "SELECT id FROM flowtoy_deployments WHERE place = %s"


def deployment_of(database: Database) -> str:
    """The identity of a deployment: 12 hexadecimal digits, the same on all of its machines.

    Args:
        database: that of its runs; the identity is made there at the first call.

    Raises:
        HomeError: the identity can't be made.
        DatabaseAwayError: the database does not answer.
    """
    try:
        database.make_tables(_TABLE, _TABLES)
        place = _place_of(database.rows)
        database.rows(_MAKE, [place, uuid.uuid4().hex[:12]])
        return str(database.rows(_ID, [place])[0][0])
    except psycopg2.Error as error:
        reason = str(error).strip().partition("\n")[0]
        raise HomeError(f"the identity of the deployment can't be made: {reason}") from None


def deployment_here() -> str:
    """The identity of the deployment whose database `FLOWTOY_STORAGE` names.

    Raises:
        HomeError: it names none, it can't be reached, or the identity can't be made.
    """
    with contextlib.closing(Database.of_runs(patience=0)) as database:
        try:
            return deployment_of(database)
        except DatabaseAwayError as error:
            raise HomeError(str(error)) from None


def check_deployment(deployment: str, database: Database) -> None:
    """See that a database that was away is still that of a worker's queues.

    Raises:
        HomeError: it is another one; a worker of its queues is to be started.
        DatabaseAwayError: it does not answer.
    """
    if deployment_of(database) != deployment:
        raise HomeError(f"the database that {STORAGE_VARIABLE} names is another one now")


def known_deployment() -> str | None:
    """The identity of the deployment here; None where no run or worker has made it yet."""
    with contextlib.suppress(HomeError), reading() as reader:
        if reader.has(_TABLE):
            found = reader.rows(_ID, [_place_of(reader.rows)])
            return str(found[0][0]) if found else None
    return None


def _place_of(rows: Rows) -> str:
    (number,) = rows(_PLACE, None)[0]
    # Who may call the function is the server's matter, for all of its users alike.
    if not rows(_MAY_ASK, None)[0][0]:
        return str(number)
    return f"{rows(_SERVER, None)[0][0]}/{number}"
