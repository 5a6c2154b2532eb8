"""A real PostgreSQL server for these tests, and databases in it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from module_files import load

from flowtoy_dagster.engine.storage.home import open_home

pytest.importorskip("dagster_postgres", reason="the extra [postgres] is not installed")


servers = load(Path(__file__).with_name("postgres_server.py"))
MADE = "made"
"""The database that has Dagster's tables already, of which others are copies."""


@pytest.fixture(scope="session")
def server() -> Iterator[Any]:
    """A server that is quick and forgets everything in a power cut."""
    try:
        running = servers.running_server("fsync=off", "full_page_writes=off", "max_connections=60")
        with running as server:
            yield server
    except servers.NoServerError as error:
        if "CI" in os.environ:
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def template(server: Any) -> str:
    """The name of a database with Dagster's tables."""
    from flowtoy_dagster.engine.storage.postgres import WarmPostgresStorage

    storage = WarmPostgresStorage(server.create(MADE))
    storage.event_log_storage.dispose()
    return MADE


@dataclass(frozen=True)
class Database:
    """A database of one test."""

    server: Any
    name: str
    address: str

    def sql(self, query: str) -> str:
        """What a query gives, as lines."""
        rows: str = self.server.sql(self.name, query)
        return rows.strip()

    def connections(self, application: str = "flowtoy") -> int:
        """How many connections an application has to it."""
        return int(self.sql(
            "SELECT count(*) FROM pg_stat_activity "
            f"WHERE datname = '{self.name}' AND application_name = '{application}'"
        ))


@pytest.fixture
def database(server: Any, template: str, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database with Dagster's tables, which FLOWTOY_STORAGE names."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    made = Database(server, name, server.create(name, template))
    monkeypatch.setenv("FLOWTOY_STORAGE", made.address)
    return made


@pytest.fixture
def opened(home: Path) -> Callable[[], dg.DagsterInstance]:
    """Opens Dagster's instance of the test's home."""
    return lambda: dg.DagsterInstance.from_config(str(open_home(home)))
