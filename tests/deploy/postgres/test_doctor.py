"""`flowtoy doctor` on a database, and on the workers that use it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import postgres_server as servers  # type: ignore[import-not-found]
import pytest

from flowtoy_dagster.doctor.examine import examine
from flowtoy_dagster.engine.executors.remote.database import Database, DatabaseAwayError
from flowtoy_dagster.engine.executors.remote.leases import Leases
from flowtoy_dagster.engine.executors.remote.message import Message
from flowtoy_dagster.engine.executors.remote.workers import PostgresQueue
from flowtoy_dagster.engine.sites.site import Site


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


def test_a_database_that_is_read_only_is_a_fault_and_one_that_does_not_answer(
    database: Any, server: Any
) -> None:
    setting = "default_transaction_read_only"
    server.sql("postgres", f'ALTER DATABASE "{database.name}" SET {setting} = on')
    try:
        (fault,) = (text for state, text in answers("database") if state == "fault")
        assert fault.startswith("its transactions are read-only")
        # As after a failover: a worker waits, and connects anew.
        with contextlib.closing(Database(database.address, 0.5)) as connection:
            with pytest.raises(DatabaseAwayError, match="in a read-only transaction"):
                connection.rows("CREATE TABLE never (made int)")
            assert connection.connected > 1
    finally:
        server.sql("postgres", f'ALTER DATABASE "{database.name}" RESET {setting}')


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
    site = Site.of_here(home)
    leases = Leases(with_tables, site)
    leases.present("a", "north", "default", 4)
    leases.present("b", "south", "default", 2)
    leases.present("c", "south", "large", 2)
    database.sql("UPDATE flowtoy_agents SET seen = seen - interval '3 minutes' "
                 "WHERE holder <> 'a' RETURNING 1")
    PostgresQueue(with_tables, site.route).submit(Message("f3a1" * 8, 1), "large")
    found = [(one.state, one.text, one.fix) for one in examine() if one.part == "workers"]
    first, others = found[0], {text: (state, fix) for state, text, fix in found[1:]}
    assert first[0] == "ok"
    assert first[1].startswith("on north: up to 4 steps at once from queue 'default', seen ")
    gone = "on south: gone without an end; it took steps of queue '{}' and was seen 3 min ago"
    assert others == {
        gone.format("default"): ("off", None),
        gone.format("large"): ("fault", "start one: flowtoy worker --queue large"),
        "1 step waits in queue 'large', of which no worker takes steps":
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
        leases = Leases(connection, Site.of_here(home))
        leases.present("a", "north", "default", 4)
        leases.open_run("f3a1" * 8)
        leases.hand_out(Message("f3a1" * 8, 1), "one", 0, None)
        text = "no worker of celery takes steps; 1 step waits for a worker"
        assert ("fault", text, fix) in workers()
        leases.present("b", "north", "celery:large", 2)
        found = [text for state, text, _ in workers() if state == "ok"]
    assert sorted(text.partition(", seen")[0] for text in found) == [
        "of celery on north: up to 2 steps at once from queue 'large'",
        "on north: up to 4 steps at once from queue 'default'",
    ]


@pytest.fixture
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """What this machine has, which shares files."""
    files = tmp_path / "shared"
    files.mkdir(mode=0o700)
    monkeypatch.setenv("FLOWTOY_FILES", str(files))
    return Site.of_here(home)


@pytest.fixture
def worker(database: Any) -> Callable[..., None]:
    """Has a worker show itself, with a machine and queues; for an hour, as tests may be slow."""

    def present(site: Site, host: str = "north", queues: str = "default") -> None:
        with contextlib.closing(Database(database.address, 0)) as connection:
            Leases(connection, site).present(f"{host}{queues}", host, queues, 4)
        database.sql("UPDATE flowtoy_agents SET seen = clock_timestamp() + interval '1 hour' "
                     "RETURNING 1")

    return present


def told(state: str) -> list[tuple[str, str | None]]:
    """What is said of workers in a state, with the fixes."""
    return [(one.text, one.fix) for one in examine()
            if one.part == "workers" and one.state == state]


def test_a_worker_that_takes_no_steps_of_runs_here_is_a_fault_where_no_other_does(
    worker: Callable[..., None], here: Site
) -> None:
    worker(replace(here, files="f00", place="the folder /mnt/other"))
    assert told("fault") == [(
        "the one on north has other files (FLOWTOY_FILES): the folder /mnt/other there, "
        f"{here.place} here",
        "set FLOWTOY_FILES there to what is used here, and start the worker again",
    )]
    worker(replace(here, files="f00"), "south")
    ((text, _),) = [one for one in told("fault") if "south" in one[0]]
    assert text.endswith(f"{here.place} here too, but not the same")
    worker(replace(here, version="9.0", messages=2), "west", "default,large")
    ((text, fix),) = [one for one in told("fault") if "west" in one[0]]
    assert text == ("the one on west has messages of version 2 (flowtoy-dagster 9.0), not 1 "
                    f"(flowtoy-dagster {here.version}) as here")
    assert fix == (
        f"pip install 'flowtoy-dagster=={here.version}' there, and start the worker again"
    )
    # In the middle of an update some workers are new and some are not: steps are taken.
    worker(here, "east")
    assert [text.partition(" has ")[0] for text, _ in told("fault")] == ["the one on west"]
    worker(here, "east", "large")
    assert told("fault") == []
    assert {text.partition(" has ")[0] for text, _ in told("warning")} == {
        "the one on north", "the one on south", "the one on west"
    }


def test_a_worker_that_takes_steps_although_its_versions_are_others_is_a_warning(
    worker: Callable[..., None], here: Site
) -> None:
    worker(replace(here, python=here.python + ".7"))
    assert (told("fault"), told("warning")) == ([], [])
    worker(replace(here, version="0.0.9"), "south")
    worker(replace(here, python="3.99.1"), "west")
    assert told("fault") == []
    found = dict(told("warning"))
    assert found[f"the one on south has flowtoy-dagster 0.0.9, not {here.version} as here"] == (
        f"pip install 'flowtoy-dagster=={here.version}' there, and start the worker again"
    )
    ((text, fix),) = [one for one in found.items() if "west" in one[0]]
    assert text.startswith("the one on west has Python 3.99.1, not 3.")
    assert fix is not None
    assert fix.startswith("install flowtoy-dagster with Python 3.")


def test_warnings_leave_the_exit_code_alone(
    flowtoy: Any, worker: Callable[..., None], here: Site
) -> None:
    worker(replace(here, version="0.0.9"))
    shown = flowtoy("doctor")
    assert shown.code == 0
    assert f"warning  workers   the one on north has flowtoy-dagster 0.0.9, not {here.version}" in (
        shown.stdout
    )
    assert shown.stdout.splitlines()[-1] == "no fault, 1 warning"
    worker(replace(here, version="0.0.9"), "south")
    assert flowtoy("doctor").stdout.splitlines()[-1] == "no fault, 2 warnings"
    assert flowtoy("doctor", "--format", "json").json["ok"] is True
    worker(replace(here, files="f00"), "west", "large")
    shown = flowtoy("doctor")
    assert (shown.code, shown.stdout.splitlines()[-1]) == (1, "1 fault, 2 warnings")


def test_workers_and_tables_of_a_version_before_are_faults_without_a_traceback(
    database: Any, home: Path
) -> None:
    with contextlib.closing(Database(database.address, 0)) as connection:
        site = Site.of_here(home)
        leases = Leases(connection, site)
        leases.present("a", "north", "default", 4)
        PostgresQueue(connection, "another").submit(Message("f3a1" * 8, 1), "default")
    assert ("fault", "1 step waits in queue 'default', whose workers have other files or another "
                     "version than the run") in answers("workers")
    database.sql("ALTER TABLE flowtoy_agents DROP COLUMN site, DROP COLUMN route; SELECT 1")
    assert ("fault", "the one on north has another version of flowtoy-dagster, which does not say "
                     "what files it has") in answers("workers")
    with contextlib.closing(Database(database.address, 0)) as connection:
        # The index that is made last stood on the column.
        database.sql("ALTER TABLE flowtoy_queue DROP COLUMN route; SELECT 1")
        leases = Leases(connection, site)
        leases.present("b", "south", "default", 4)
        listening = [(one.host, one.site) for one in leases.listening("default")]
    assert listening == [("north", None), ("south", site)]
