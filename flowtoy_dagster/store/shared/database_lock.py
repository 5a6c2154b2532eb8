"""A lock that holds over all machines: one of the database of runs, where there is one."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

from flowtoy_dagster.masking.mask import STORAGE_VARIABLE, Mask, storage_secrets

_CONNECTING = {"connect_timeout": 10, "fallback_application_name": "flowtoy"}


@contextlib.contextmanager
def database_lock(address: str | None, name: str, *, alone: bool) -> Iterator[None]:
    """Hold a lock while a block runs, with others or alone; no lock where there is no database.

    It ends with the connection, however the process ends.

    Args:
        address: of the database of runs, where there is one.
        name: what is locked.
        alone: whether nobody else may hold it.

    Raises:
        OSError: the database does not answer.
    """
    if not address:
        yield
        return
    import psycopg2

    scheme, _, rest = address.partition("://")
    given = {word: value for word, value in _CONNECTING.items() if f"{word}=" not in address}
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    function = "pg_advisory_lock" if alone else "pg_advisory_lock_shared"
    try:
        connection = psycopg2.connect(f"{scheme.partition('+')[0]}://{rest}", **given)
    except psycopg2.Error as error:
        raise _error(error, address) from None
    with contextlib.closing(connection):
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {function}(%s)", [number])
        except psycopg2.Error as error:
            raise _error(error, address) from None
        yield


def _error(error: Exception, address: str) -> OSError:
    reason = Mask(storage_secrets({STORAGE_VARIABLE: address})).text(" ".join(str(error).split()))
    return OSError(f"the lock in the database of runs can't be had: {reason}")
