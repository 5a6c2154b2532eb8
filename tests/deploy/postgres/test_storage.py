"""The PostgreSQL storages that keep their connections (runtime 12).

What they write, Dagster's own can read, and the other way round.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import postgres_server as servers  # type: ignore[import-not-found]
import pytest
from dagster._core.test_utils import create_run_for_test
from dagster_postgres import DagsterPostgresStorage

from flowtoy_dagster.engine.storage import postgres
from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.engine.storage.postgres import WarmPostgresEventLogStorage
from flowtoy_dagster.errors import HomeError

Opened = Callable[[], dg.DagsterInstance]
DAGSTERS_OWN = """
storage:
  postgres:
    postgres_url: {env: DATABASE}
telemetry: {enabled: false}
"""


@dg.op
def nothing() -> None:
    """Is only run."""


@dg.job
def a_job() -> None:
    nothing()


def story(instance: dg.DagsterInstance, run_id: str) -> tuple[str, list[str], int]:
    """A run's status, its events, and how many runs have succeeded."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    kinds = [
        entry.dagster_event.event_type_value
        for entry in instance.all_logs(run_id)
        if entry.dagster_event
    ]
    ended = instance.fetch_run_status_changes(dg.DagsterEventType.PIPELINE_SUCCESS, limit=99)
    return run.status.value, kinds, len(ended.records)


def test_dagsters_own_storage_and_ours_read_what_the_other_wrote(
    database: Any, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened() as instance:
        assert isinstance(instance.event_log_storage, WarmPostgresEventLogStorage)
        first = a_job.execute_in_process(instance=instance).run_id
        written = story(instance, first)
    assert written[0] == "SUCCESS"
    assert written[1][0] == "PIPELINE_START"
    assert written[1][-1] == "PIPELINE_SUCCESS"
    (tmp_path / "dagster.yaml").write_text(DAGSTERS_OWN)
    # SQLAlchemy takes another driver by default since its version 2.1.
    monkeypatch.setenv("DATABASE", database.address.replace("postgresql", "postgresql+psycopg2"))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert not isinstance(instance.event_log_storage, WarmPostgresEventLogStorage)
        assert story(instance, first) == written
        second = a_job.execute_in_process(instance=instance).run_id
        stock = story(instance, second)
    with opened() as instance:
        assert story(instance, second) == stock
        assert stock[1] == written[1]
        assert {run.run_id for run in instance.get_runs()} == {first, second}


def test_the_tables_are_dagsters_own(server: Any, database: Any) -> None:
    name = f"stock_of_{database.name}"
    address = server.create(name).replace("postgresql", "postgresql+psycopg2")
    DagsterPostgresStorage(address)
    schemas = [
        server.program("pg_dump", "--schema-only", "--restrict-key=x", server.address(each))
        for each in (name, database.name)
    ]
    assert schemas[0] == schemas[1]
    revisions = "SELECT version_num FROM alembic_version"
    assert server.sql(name, revisions).strip() == database.sql(revisions)


def test_a_process_keeps_one_connection_and_closes_it_with_the_instance(
    database: Any, opened: Opened
) -> None:
    with opened() as instance:
        run = create_run_for_test(instance)
        for number in range(20):
            instance.report_engine_event(f"event {number}", run)
        assert len(instance.all_logs(run.run_id)) == 20
        assert instance.get_run_records(limit=1)
        assert database.connections() == 1
    assert database.connections() == 0


def test_a_forked_child_does_not_share_the_connection(database: Any, opened: Opened) -> None:
    with opened() as instance:
        engine = instance.run_storage._engine  # type: ignore[attr-defined]

        def backend() -> str:
            with engine.connect() as connection:
                return str(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar())

        ours = backend()
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(write, backend().encode())
            finally:
                os._exit(0)
        os.close(write)
        with open(read, "rb") as pipe:
            theirs = pipe.read().decode()
        os.waitpid(pid, 0)
        assert theirs.isdigit()
        assert theirs != ours
        assert backend() == ours


def test_a_server_that_is_started_anew_is_found_again(
    server: Any, database: Any, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened() as instance:
        run = create_run_for_test(instance)
        instance.report_engine_event("before", run)
        server.stop()
        server.start()
        instance.report_engine_event("after", run)
        server.stop()
        server.start()
        monkeypatch.setattr(postgres, "IDLE", 0.0)
        told = [entry.message for entry in instance.all_logs(run.run_id)]
    assert told == ["before", "after"]


def test_a_connection_that_was_ended_while_it_was_idle_for_a_second_fails_nothing(
    database: Any, opened: Opened
) -> None:
    with opened() as instance:
        run = create_run_for_test(instance)
        time.sleep(1.0)
        database.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                     "WHERE pid <> pg_backend_pid() AND datname = current_database()")
        assert [one.run_id for one in instance.get_runs()] == [run.run_id]


def test_a_server_that_stays_away_is_waited_for_once(
    server: Any, database: Any, opened: Opened, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(postgres, "PATIENCE", 0.0)
    with opened() as instance:
        run = create_run_for_test(instance)
        server.stop()
        try:
            for _ in range(2):
                with pytest.raises(postgres.DBAPIError):
                    instance.run_storage.get_runs()
        finally:
            server.start()
        assert [run.run_id for run in instance.get_runs()] == [run.run_id]
    (told,) = [record.getMessage() for record in caplog.records if record.name.startswith("flow")]
    assert told.startswith("waiting for the database of runs: connection to server")


def test_a_database_of_a_newer_dagster_is_refused(database: Any, opened: Opened) -> None:
    # runtime 13
    database.sql("UPDATE alembic_version SET version_num = 'abcdef012345'")
    with pytest.raises(HomeError, match=r"made by a newer version of Dagster than 1\.13"):
        opened()


WRITE = """
import sys
import dagster as dg
from dagster._core.test_utils import create_run_for_test
from flowtoy_dagster.engine.storage.home import open_home
home = str(open_home())
sys.stdout.write("here\\n")
sys.stdout.flush()
sys.stdin.read(1)
with dg.DagsterInstance.from_config(home) as instance:
    own = create_run_for_test(instance)
    sys.stdout.write(own.run_id)
    for number in range(50):
        instance.report_engine_event(f"event {number}", own)
"""


def test_processes_make_the_tables_together_and_lose_no_event(
    server: Any, database: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server.create(f"new_{database.name}")
    monkeypatch.setenv("FLOWTOY_STORAGE", address)
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITE], text=True, **pipes) for _ in range(2)
    ]
    own = []
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "here\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("x")
            process.stdin.flush()
        for process in processes:
            stdout, stderr = process.communicate(timeout=200)
            assert process.returncode == 0, stderr
            own.append(stdout)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    with dg.DagsterInstance.from_config(str(open_home(home))) as instance:
        assert {run.run_id for run in instance.get_runs()} == set(own)
        for run_id in own:
            told = [entry.message for entry in instance.all_logs(run_id)]
            assert told == [f"event {number}" for number in range(50)]


def test_it_is_configured_as_dagsters_own(
    server: Any, database: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "username": servers.USER, "password": {"env": "PASSWORD"}, "hostname": "127.0.0.1",
        "port": server.port, "db_name": database.name, "params": {"application_name": "mine"},
    }
    storage = {"module": "flowtoy_dagster.engine.storage.postgres", "class": "WarmPostgresStorage",
               "config": {"postgres_db": settings}}
    (home / "dagster.yaml").write_text(json.dumps({"storage": {"custom": storage}}))
    monkeypatch.setenv("PASSWORD", servers.PASSWORD)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert isinstance(instance.event_log_storage, WarmPostgresEventLogStorage)
        assert instance.get_runs() == []
        assert database.connections("mine") == 1
        # runtime 3: what other processes open it by does not hold the password.
        assert servers.PASSWORD not in str(instance.get_ref())
