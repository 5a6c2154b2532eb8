"""What executors need whose workers are elsewhere. No Dagster in here."""

from __future__ import annotations

from flowtoy_dagster.engine.storage.address import MISSING_EXTRA, is_supported, storage_address
from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.masking.mask import STORAGE_VARIABLE

LEASE = 10.0
"""Seconds without a renewal after which a step's agent is given up."""


def check_database(executor: str) -> None:
    """See that the history of runs is in a database that all machines can use.

    Raises:
        HomeError: it is not, or what PostgreSQL needs is not installed.
    """
    if storage_address() is None:
        raise HomeError(
            f"the executor '{executor}' needs the history of runs in PostgreSQL, and "
            f"{STORAGE_VARIABLE} is not set\n"
            f"    set {STORAGE_VARIABLE} to postgresql://user:password@host:5432/name"
        )
    if not is_supported():
        raise HomeError(MISSING_EXTRA)
