"""A connection to the database of runs that reads and never writes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from flowtoy_dagster.engine.storage.address import MISSING_EXTRA, is_supported, storage_address
from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.masking.mask import STORAGE_VARIABLE, Mask, storage_secrets

PATIENCE = 10
"""Seconds for a connection, and for a question."""


class Reader:
    """Asks the database of runs.

    Args:
        connection: an open one that is read-only.
        mask: hides the address and its password.
    """

    def __init__(self, connection: Any, mask: Mask) -> None:
        self._connection = connection
        self._mask = mask

    def rows(self, statement: str, values: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """What a statement gives.

        Raises:
            HomeError: the database does not answer it; says why.
        """
        import psycopg2

        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values)
                return list(cursor.fetchall())
        except psycopg2.Error as error:
            raise _error(error, self._mask) from None

    def one(self, statement: str, values: Sequence[Any] | None = None) -> Any:
        """The only value that a statement gives."""
        return self.rows(statement, values)[0][0]

    def has(self, table: str) -> bool:
        """Whether there is such a table."""
        return bool(self.one("SELECT to_regclass(%s) IS NOT NULL", [table]))


@contextlib.contextmanager
def reading() -> Iterator[Reader]:
    """The database that `FLOWTOY_STORAGE` names, to be read while the block runs.

    Raises:
        HomeError: it names none, or it can't be used; says why, without its password.
    """
    address = storage_address()
    if address is None:
        raise HomeError(f"{STORAGE_VARIABLE} is not set")
    if not is_supported():
        raise HomeError(MISSING_EXTRA)
    import psycopg2

    mask = Mask(storage_secrets({STORAGE_VARIABLE: address}))
    scheme, _, rest = address.partition("://")
    settings = {"connect_timeout": PATIENCE, "fallback_application_name": "flowtoy doctor"}
    given = {name: value for name, value in settings.items() if f"{name}=" not in address}
    try:
        connection = psycopg2.connect(f"{scheme.partition('+')[0]}://{rest}", **given)
    except psycopg2.Error as error:
        raise _error(error, mask) from None
    with contextlib.closing(connection):
        connection.set_session(readonly=True, autocommit=True)
        reader = Reader(connection, mask)
        reader.rows(f"SELECT set_config('statement_timeout', '{PATIENCE}s', false)")
        yield reader


def _error(error: Exception, mask: Mask) -> HomeError:
    lines = [line.strip() for line in str(error).splitlines()]
    reason = mask.text("; ".join(filter(None, lines)).replace("FATAL:  ", ""))
    return HomeError(f"the database that {STORAGE_VARIABLE} names can't be used: {reason}\n"
                     f"    {_fix(reason)}")


def _fix(reason: str) -> str:
    """What to do about what the server or libpq said."""
    for words, fix in _FIXES:
        if any(word in reason for word in words):
            return fix
    return f"check {STORAGE_VARIABLE}, and the log of the server"


_FIXES = (
    (("password", "no pg_hba.conf entry"),
     f"correct user and password in {STORAGE_VARIABLE}, or let the user in in pg_hba.conf"),
    (("does not exist",), f"create it, or correct its name in {STORAGE_VARIABLE}"),
    (("could not translate host name", "Connection refused", "timeout", "timed out",
      "No route", "unreachable"),
     f"start the server, or correct host and port in {STORAGE_VARIABLE}"),
    (("too many", "remaining connection slots"),
     "raise max_connections of the server, or run less at once"),
    (("SSL", "certificate"), f"correct sslmode in {STORAGE_VARIABLE}, or the server's certificate"),
    (("statement timeout", "lock timeout"), "the server is overloaded, or a table is locked"),
    (("permission denied",), "grant the rights to the database's user"),
)
