"""The database that `FLOWTOY_STORAGE` names: what can be said of it before Dagster is imported.

The address holds a password. It stays in the environment: `dagster.yaml` refers to the variable,
and what opens the home in other processes inherits it. Steps don't see it.
"""

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from flowtoy_dagster.datafiles.regular import read_regular
from flowtoy_dagster.errors import HomeError, system_reason
from flowtoy_dagster.masking.mask import ADDRESS_VARIABLES, STORAGE_VARIABLE

STORAGE_MODULE = "flowtoy_dagster.engine.storage.postgres"
ADDRESS = re.compile(
    r"(postgresql|postgres|postgresql\+psycopg2)://"
    r"([^:/@]*(:[^@]*)?@)?"  # user and password
    r"(\[[^\]@]*\]|[^:/?@]*)(:\d+)?"
    r"(/[^?@]*)?(\?[^@]*)?"
)
MISSING_EXTRA = (
    "PostgreSQL support is not installed\n    pip install 'flowtoy-dagster[postgres]'"
)


PATIENCE = 30.0
"""Seconds for which a run and its processes wait for a database that does not answer."""


class NoConnectionError(HomeError):
    """The database of runs takes no connection now."""


def storage_address() -> str | None:
    """What `FLOWTOY_STORAGE` is set to.

    Raises:
        HomeError: it is no address of a database that runs can be kept in.
    """
    address = os.environ.get(STORAGE_VARIABLE)
    if not address:
        return None
    if not ADDRESS.fullmatch(address):
        # What it is may hold a password.
        raise HomeError(
            f"{STORAGE_VARIABLE} is not the address of a PostgreSQL database\n"
            "    it looks like postgresql://user:password@host:5432/name, "
            "with %40 for an @ in the password"
        )
    return address


def check_storage(settings: Path) -> None:
    """See that a home and the environment agree on where runs are kept.

    Args:
        settings: the home's `dagster.yaml`.

    Raises:
        HomeError: one names a database, and the other doesn't; or it can't be used from here.
    """
    address = storage_address()
    refers = _refers(settings)
    if refers and not address:
        raise HomeError(
            f"{settings} keeps runs in the database that {STORAGE_VARIABLE} names, "
            "and it is not set\n    set it, or set FLOWTOY_HOME to another folder"
        )
    if address and not refers:
        raise HomeError(
            f"{STORAGE_VARIABLE} is set, but {settings} keeps runs elsewhere\n"
            "    set FLOWTOY_HOME to a new folder, which will use the database, "
            f"or unset {STORAGE_VARIABLE}"
        )
    if address and not is_supported():
        raise HomeError(MISSING_EXTRA)


def is_supported() -> bool:
    """Whether the packages that PostgreSQL needs are installed."""
    return all(map(importlib.util.find_spec, ("dagster_postgres", "psycopg2")))


def reason_of(error: BaseException) -> str:
    """Why a `dagster.yaml` can't be used, in a few plain words."""
    text = str(error)
    if "dagster_postgres" in text and not is_supported():
        return MISSING_EXTRA
    if "'psycopg'" in text:
        return f"{text}\n    write the database's address as postgresql+psycopg2://…"
    # Where Dagster has tried several times, what the database said is in the cause.
    told = getattr(error.__cause__, "orig", None) or text
    return str(told).strip().partition("\n")[0] or "it is not valid"


def modules_to_preload() -> list[str]:
    """What a process imports before it forks workers that will open the database."""
    return [STORAGE_MODULE] if os.environ.get(STORAGE_VARIABLE) and is_supported() else []


@contextlib.contextmanager
def hidden_addresses() -> Iterator[None]:
    """Run a step in an environment without the addresses of the database and of brokers."""
    found = {name: os.environ.pop(name) for name in ADDRESS_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(found)


def _refers(settings: Path) -> bool:
    """Whether a `dagster.yaml` takes something from the variable."""
    try:
        with read_regular(settings) as file:
            text = file.read().decode()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise HomeError(f"{settings} can't be used: {system_reason(error)}") from None
    except UnicodeDecodeError:
        raise HomeError(f"{settings} can't be used: it is not UTF-8 text") from None
    if STORAGE_VARIABLE not in text:
        return False
    try:
        return _takes_variable(yaml.safe_load(text))
    except yaml.YAMLError:
        return True  # Dagster says what is wrong with it


def _takes_variable(value: Any) -> bool:
    if isinstance(value, dict):
        return value.get("env") == STORAGE_VARIABLE or any(map(_takes_variable, value.values()))
    return isinstance(value, list) and any(map(_takes_variable, value))
