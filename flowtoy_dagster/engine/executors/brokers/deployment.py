"""What tells a deployment from others that use the same broker: its database, and its files."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg2

from flowtoy_dagster.engine.executors.remote.database import Database, DatabaseAwayError
from flowtoy_dagster.engine.health.database import reading
from flowtoy_dagster.engine.sites.site import Site
from flowtoy_dagster.engine.storage.home import home_folder
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
    """The identity of a database of runs: 12 hexadecimal digits.

    Args:
        database: the connection; the identity is made there at the first call.

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


@dataclass(frozen=True)
class Deployment:
    """Machines that run each other's steps: of one database, with one place for files.

    Attributes:
        identity: of the database.
        route: of the files, and of the version of messages (`Site.route`).
    """

    identity: str
    route: str

    @property
    def name(self) -> str:
        """12 hexadecimal digits, which the names of its queues in a broker have."""
        return hashlib.sha256(f"{self.identity}/{self.route}".encode()).hexdigest()[:12]


def deployment_here() -> Deployment:
    """The deployment of the database that `FLOWTOY_STORAGE` names, and of the files here.

    Raises:
        HomeError: it names none, it can't be reached, or an identity can't be made.
    """
    site = Site.of_here(home_folder())
    with contextlib.closing(Database.of_runs(patience=0)) as database:
        try:
            return Deployment(deployment_of(database), site.route)
        except DatabaseAwayError as error:
            raise HomeError(str(error)) from None


def check_deployment(identity: str, database: Database) -> None:
    """See that a database that was away is still that of a worker's queues.

    Args:
        identity: of the database that these are of.
        database: the connection.

    Raises:
        HomeError: it is another one; a worker of its queues is to be started.
        DatabaseAwayError: it does not answer.
    """
    if deployment_of(database) != identity:
        raise HomeError(f"the database that {STORAGE_VARIABLE} names is another one now")


def known_deployment() -> Deployment | None:
    """The deployment here; None where no run or worker has made its identities yet."""
    with contextlib.suppress(HomeError, OSError), reading() as reader:
        site = Site.seen_here(home_folder())
        if site.files and reader.has(_TABLE):
            found = reader.rows(_ID, [_place_of(reader.rows)])
            return Deployment(str(found[0][0]), site.route) if found else None
    return None


def _place_of(rows: Rows) -> str:
    (number,) = rows(_PLACE, None)[0]
    # Who may call the function is the server's matter, for all of its users alike.
    if not rows(_MAY_ASK, None)[0][0]:
        return str(number)
    return f"{rows(_SERVER, None)[0][0]}/{number}"
