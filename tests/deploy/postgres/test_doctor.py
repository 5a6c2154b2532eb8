"""`flowtoy doctor` on a database, and on the workers that use it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import postgres_server as servers  # type: ignore[import-not-found]
import pytest

from flowtoy_dagster.doctor.examine import examine
from flowtoy_dagster.engine.executors.remote.database import Database
from flowtoy_dagster.engine.executors.remote.leases import Leases
from flowtoy_dagster.engine.executors.remote.message import Message
from flowtoy_dagster.engine.executors.remote.workers import PostgresQueue


def answers(*parts: str) -> list[tuple[str, str]]:
    """States and texts of some parts."""
    return [(one.state, one.text) for one in examine() if one.part in parts]


def test_a_database_with_tables_is_well_and_one_without_is_left_so(
    database: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = answers("database", "workers")[:1]
    assert one[0] == "ok"
    assert one[1].startswith("PostgreSQL ")
    assert ("off", "no worker takes steps") in answers("workers")
    name = f"{database.name}_new"
    monkeypatch.setenv("FLOWTOY_STORAGE", server.create(name))
    assert ("ok", "no tables yet: the first command makes them") in answers("database")
    assert server.sql(name, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0\n"


def test_tables_of_another_version_are_a_fault(database: Any) -> None:
    database.sql("UPDATE alembic_version SET version_num = '0123456789ab' RETURNING 1")
    assert ("fault", "the tables are of a newer version of Dagster") in answers("database")
    # The first revision of Dagster's tables.
    database.sql("UPDATE alembic_version SET version_num = '567bc23fd1ac' RETURNING 1")
    assert ("fault", "the tables are of an older version of Dagster") in answers("database")


def test_a_user_that_may_not_write_is_a_fault(
    database: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.sql("CREATE ROLE reader LOGIN PASSWORD 'geh31mnis'; SELECT 1")
    address = database.address.replace(servers.QUOTED, "geh31mnis").replace(
        f"//{database.address.partition('//')[2].partition(':')[0]}:", "//reader:"
    )
    monkeypatch.setenv("FLOWTOY_STORAGE", address)
    found = [one for one in examine() if one.part == "database" and one.state == "fault"]
    database.sql("DROP ROLE reader; SELECT 1")
    (fault,) = found
    assert "'reader' may not write the tables" in fault.text
    assert fault.fix == 'GRANT ALL ON ALL TABLES IN SCHEMA public TO "reader"'


def test_workers_are_told_by_queue_and_steps_that_wait_for_none_are_a_fault(
    database: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_tables = Database(database.address, 0)
    leases = Leases(with_tables)
    leases.present("a", "north", "default", 4)
    leases.present("b", "south", "default", 2)
    leases.present("c", "south", "large", 2)
    database.sql("UPDATE flowtoy_agents SET seen = seen - interval '3 minutes' "
                 "WHERE holder <> 'a' RETURNING 1")
    PostgresQueue(with_tables).submit(Message("f3a1" * 8, 1), "large")
    found = [(one.state, one.text, one.fix) for one in examine() if one.part == "workers"]
    first, others = found[0], {text: (state, fix) for state, text, fix in found[1:]}
    assert first[0] == "ok"
    assert first[1].startswith("on north: up to 4 steps at once from queue 'default', seen ")
    gone = "on south: gone without an end; it took steps of queue '{}' and was seen 3 min ago"
    assert others == {
        gone.format("default"): ("off", None),
        gone.format("large"): ("fault", "start one: flowtoy worker --queue large"),
        "1 steps wait in queue 'large', of which no worker takes steps":
            ("fault", "start one: flowtoy worker --queue large"),
    }
    leases.present("d", "west", "celery:default,celery:large", 1)
    assert len(answers("workers")) == len(found)
    database.sql("DELETE FROM flowtoy_agents RETURNING 1")
    monkeypatch.setenv("FLOWTOY_EXECUTOR", "workers")
    assert ("fault", "no worker takes steps") in answers("workers")
    with_tables.close()


def test_a_broker_without_a_worker_is_a_fault(
    database: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWTOY_BROKER", "redis://127.0.0.1:1/0")
    fix = "start one: flowtoy worker --executor celery"

    def workers() -> list[tuple[str, str, str | None]]:
        return [(one.state, one.text, one.fix) for one in examine() if one.part == "workers"]

    assert ("fault", "no worker of celery takes steps", fix) in workers()
    with contextlib.closing(Database(database.address, 0)) as connection:
        leases = Leases(connection)
        leases.present("a", "north", "default", 4)
        leases.open_run("f3a1" * 8)
        leases.hand_out(Message("f3a1" * 8, 1), "one", 0, None)
        text = "no worker of celery takes steps; 1 steps wait for a worker"
        assert ("fault", text, fix) in workers()
        leases.present("b", "north", "celery:large", 2)
        found = [text for state, text, _ in workers() if state == "ok"]
    assert sorted(text.partition(", seen")[0] for text in found) == [
        "of celery on north: up to 2 steps at once from queue 'large'",
        "on north: up to 4 steps at once from queue 'default'",
    ]
