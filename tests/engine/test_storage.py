"""The SQLite storages that keep their connections (runtime 12).

What they write, Dagster's own can read, and the other way round.
"""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from flowtoy_dagster.engine.storage import sqlite as storage
from flowtoy_dagster.engine.storage import sqlite_connections as connections
from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.engine.storage.sqlite import WarmEventLogStorage, WarmRunStorage
from flowtoy_dagster.engine.storage.sqlite_connections import Engines
from flowtoy_dagster.errors import HomeError

STOCK_YAML = "telemetry: {enabled: false}\n"


@dg.op
def nothing() -> None:
    """Is only run."""


@dg.job
def a_job() -> None:
    nothing()


def stock_home(folder: Path) -> Path:
    """A home as Dagster makes it, without flowtoy."""
    folder.mkdir()
    (folder / "dagster.yaml").write_text(STOCK_YAML)
    return folder


def opened(home: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(home))


def run_in(home: Path) -> str:
    """The id of a run that has been executed and stored."""
    with opened(home) as instance:
        return a_job.execute_in_process(instance=instance).run_id


def story(home: Path, run_id: str) -> tuple[str, list[str], int]:
    """A run's status, its events, and how many of them are in the index too."""
    with opened(home) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        kinds = [
            entry.dagster_event.event_type_value
            for entry in instance.all_logs(run_id)
            if entry.dagster_event
        ]
        ended = instance.fetch_run_status_changes(dg.DagsterEventType.PIPELINE_SUCCESS, limit=99)
        return run.status.value, kinds, len(ended.records)


@pytest.fixture
def home(used_home: Path) -> Path:
    """A home with the warm storages."""
    return used_home


def test_dagsters_own_storage_reads_what_the_warm_one_wrote(home: Path) -> None:
    first = run_in(home)
    written = story(home, first)
    assert written[0] == "SUCCESS"
    assert written[1][0] == "PIPELINE_START"
    assert written[1][-1] == "PIPELINE_SUCCESS"
    (home / "dagster.yaml").write_text(STOCK_YAML)
    with opened(home) as instance:
        assert not isinstance(instance.run_storage, WarmRunStorage)
    assert story(home, first) == written
    second = run_in(home)
    assert story(home, second)[0] == "SUCCESS"


def test_the_warm_storage_reads_and_goes_on_with_what_dagsters_own_wrote(tmp_path: Path) -> None:
    home = stock_home(tmp_path / "home")
    first = run_in(home)
    written = story(home, first)
    (home / "dagster.yaml").unlink()
    (home / "dagster.yaml").write_bytes(
        (open_home(tmp_path / "other") / "dagster.yaml").read_bytes().replace(
            str(tmp_path / "other").encode(), str(home).encode()
        )
    )
    with opened(home) as instance:
        assert isinstance(instance.run_storage, WarmRunStorage)
    assert story(home, first) == written
    second = run_in(home)
    assert story(home, second)[1] == written[1]
    with opened(home) as instance:
        assert {run.run_id for run in instance.get_runs()} == {first, second}


def schema(database: Path) -> list[Any]:
    with closing(sqlite3.connect(database)) as connection:
        tables = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2")
        versions = connection.execute("SELECT version_num FROM alembic_version")
        return [tables.fetchall(), versions.fetchall()]


def test_the_databases_have_the_schema_of_dagsters_own(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    stock = stock_home(tmp_path / "stock")
    paths = [("history", "runs.db"), ("history", "runs", "index.db"),
             ("schedules", "schedules.db")]
    runs = run_in(home), run_in(stock)
    for path in paths:
        assert schema(home.joinpath(*path)) == schema(stock.joinpath(*path))
    shards = [
        folder / "history" / "runs" / f"{run_id}.db"
        for folder, run_id in zip((home, stock), runs, strict=True)
    ]
    assert schema(shards[0]) == schema(shards[1])


def test_a_runs_database_is_a_copy_of_an_empty_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in(home)
    folder = home / "history" / "runs"
    empty = folder / storage._EMPTY_SHARD
    with closing(sqlite3.connect(empty)) as connection:
        connection.execute("CREATE TABLE copied (x)")
        connection.commit()
    second = run_in(home)
    assert "copied" in str(schema(folder / f"{second}.db"))
    assert not list(folder.glob("*.part"))
    with opened(home) as instance:
        assert len(instance.event_log_storage.get_all_run_ids()) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("damage", ["empty", "cut", "folder", "fifo", "itself"])
def test_an_empty_database_that_is_damaged_is_made_again(damage: str, home: Path) -> None:
    run_in(home)
    empty = home / "history" / "runs" / storage._EMPTY_SHARD
    whole = empty.read_bytes()
    damage_file(empty, damage)
    run_in(home)
    assert len(empty.read_bytes()) == len(whole)


def damage_file(path: Path, damage: str) -> None:
    data = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "fifo":
        os.mkfifo(path)
    elif damage == "itself":
        path.symlink_to(path.name)
    else:
        path.write_bytes({"empty": b"", "cut": data[:-4096], "garbage": b"\x95" * 4096}[damage])


@pytest.mark.parametrize("damage", ["empty", "garbage", "folder", "fifo", "itself"])
def test_a_mark_of_a_checked_schema_that_is_damaged_is_made_again(damage: str, home: Path) -> None:
    run_in(home)
    (mark,) = (home / "history").glob("schema-checked-*")
    revision = mark.read_bytes()
    damage_file(mark, damage)
    run_in(home)
    assert mark.read_bytes() == revision


@pytest.mark.parametrize("damage", ["garbage", "folder", "fifo", "itself"])
def test_a_runs_database_that_can_t_be_read_is_named_and_can_be_deleted(
    damage: str, home: Path
) -> None:
    run_id, other = run_in(home), run_in(home)
    path = home / "history" / "runs" / f"{run_id}.db"
    damage_file(path, damage)
    with opened(home) as instance:
        with pytest.raises(HomeError, match=f"the database {path} can't be read: (it|file) is no"):
            instance.all_logs(run_id)
        instance.delete_run(run_id)
        assert {run.run_id for run in instance.get_runs()} == {other}
        assert instance.all_logs(run_id) == []
        assert instance.all_logs(other)


def test_every_connection_is_quick_and_every_database_in_wal_mode(home: Path) -> None:
    with opened(home) as instance:
        run = create_run_for_test(instance)
        instance.report_engine_event("hello", run)
        log, runs = instance.event_log_storage, instance.run_storage
        schedules = instance._schedule_storage
        connections: list[Callable[[], Any]] = [
            lambda: log.run_connection(run.run_id),  # type: ignore[attr-defined]
            log.index_connection,  # type: ignore[attr-defined]
            runs.connect,  # type: ignore[attr-defined]
            schedules.connect,  # type: ignore[union-attr]
        ]
        for connect in connections:
            with connect() as connection:
                synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar()
                assert synchronous == 2  # FULL: what is committed here is on the disk
                # A connection that was there before the change learns of it when it reads.
                connection.exec_driver_sql("SELECT * FROM sqlite_master").all()
                assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        files = [*home.rglob("*.db"), *home.rglob("*.shard")]
        assert len(files) == 5  # runs, schedules, the index, this run, and an empty one
        for file in files:
            assert file.read_bytes()[18:20] == b"\2\2", file  # the versions that mean WAL
            assert file.stat().st_mode & 0o777 == 0o600, file


def descriptors(home: Path) -> list[str]:
    """The files of a home that this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            continue
        if target.startswith(str(home)):
            found.append(target)
    return found


def test_connections_are_kept_and_closed_with_the_instance(home: Path) -> None:
    with opened(home) as instance:
        run = create_run_for_test(instance)
        for number in range(20):
            instance.report_engine_event(f"event {number}", run)
        shard = str(home / "history" / "runs" / f"{run.run_id}.db")
        # One for events that are stored, one for all else.
        assert 1 <= descriptors(home).count(shard) <= 2
    assert descriptors(home) == []


def test_only_so_many_databases_are_kept_open(
    home: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    # Closing must not wait for the collector: a connection is part of a cycle.
    request.addfinalizer(gc.enable)
    gc.disable()
    monkeypatch.setattr(connections, "MOST_ENGINES", 2)
    monkeypatch.setattr(connections, "MOST_WRITERS", 2)
    with opened(home) as instance:
        runs = [create_run_for_test(instance) for _ in range(8)]
        for run in runs * 2:
            instance.report_engine_event("hello", run)
        shards = {path for path in descriptors(home) if path.endswith(".db")}
        log = {path for path in shards if "/history/runs/" in path}
        assert len(log) <= 4
        for run in runs:
            told = [e for e in instance.all_logs(run.run_id) if e.message == "hello"]
            assert len(told) == 2


def test_a_forked_child_does_not_share_connections(tmp_path: Path) -> None:
    engines = Engines()
    url = f"sqlite:///{tmp_path / 'x.db'}"
    engine = engines.get(url)
    assert engines.get(url) is engine
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            other = engines.get(url)
            engines.close()
            os.write(write, b"same" if other is engine else b"another")
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        assert pipe.read() == b"another"
    os.waitpid(pid, 0)
    assert engines.get(url) is engine
    engines.close()


WRITE = """
import sys
import threading
import dagster as dg
from dagster._core.test_utils import create_run_for_test
home, shared, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with dg.DagsterInstance.from_config(home) as instance:
    own = create_run_for_test(instance)
    sys.stdout.write(own.run_id)
    sys.stdout.flush()
    sys.stdin.read(1)
    run = instance.get_run_by_id(shared) or own
    for number in range(count):
        instance.report_engine_event(f"event {number}", run)
        instance.report_engine_event(f"event {number}", own)
"""


@pytest.fixture
def writers(home: Path) -> Iterator[Callable[[str], list[subprocess.Popen[str]]]]:
    """Starts processes that write to one home when they are all there."""
    started: list[subprocess.Popen[str]] = []

    def start(shared: str) -> list[subprocess.Popen[str]]:
        command = [sys.executable, "-c", WRITE, str(home), shared, "50"]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        started.extend(subprocess.Popen(command, text=True, **pipes) for _ in range(3))
        return started

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_processes_make_a_home_together_and_write_to_it(
    home: Path, writers: Callable[[str], list[subprocess.Popen[str]]]
) -> None:
    # The home is new for all of them: its databases are made by one, once.
    for name in ("history", "schedules"):
        shutil.rmtree(home / name)
    own = []
    for process in writers(""):
        stdout, stderr = process.communicate("x", timeout=200)
        assert process.returncode == 0, stderr
        assert "lock" not in stderr
        own.append(stdout)
    with opened(home) as instance:
        assert {run.run_id for run in instance.get_runs()} == set(own)
        for run_id in own:
            told = [e.message for e in instance.all_logs(run_id)]
            assert sorted(told) == sorted([f"event {n}" for n in range(50)] * 2)


def test_processes_lose_no_event_of_one_run(
    home: Path, writers: Callable[[str], list[subprocess.Popen[str]]]
) -> None:
    with opened(home) as instance:
        shared = create_run_for_test(instance).run_id
    for process in writers(shared):
        _, stderr = process.communicate("x", timeout=200)
        assert process.returncode == 0, stderr
    with opened(home) as instance:
        told = [e.message for e in instance.all_logs(shared)]
        assert sorted(told) == sorted([f"event {n}" for n in range(50)] * 3)


def test_a_home_of_an_older_dagster_is_brought_up_to_date(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    run_id = run_in(home)
    # As if another version had checked the schema last.
    (marker,) = (home / "history").glob("schema-checked-*")
    marker.rename(home / "history" / "schema-checked-1.0.0")
    assert story(home, run_id)[0] == "SUCCESS"
    assert marker.exists()


def test_a_process_that_gets_a_reference_to_the_instance_has_the_same_storages(
    home: Path,
) -> None:
    with opened(home) as instance, dg.DagsterInstance.from_ref(instance.get_ref()) as again:
        assert isinstance(again.run_storage, WarmRunStorage)
        assert isinstance(again.event_log_storage, WarmEventLogStorage)


def test_threads_make_the_databases_of_events_together(tmp_path: Path) -> None:
    """Each with a storage of its own, as runs in several threads of a program have."""
    for attempt in range(8):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        failures: list[BaseException] = []
        start = threading.Barrier(4)

        def open_both(
            number: int, folder: Path = folder, start: threading.Barrier = start,
            failures: list[BaseException] = failures,
        ) -> None:
            opened = WarmEventLogStorage(str(folder))
            start.wait()
            try:
                with opened.index_connection(), opened.run_connection(f"run-{number}"):
                    """They are ready."""
            except BaseException as error:
                failures.append(error)
            opened.dispose()

        # What a home makes first is an empty file for its owner alone.
        (folder / "index.db").touch()
        threads = [threading.Thread(target=open_both, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        with closing(sqlite3.connect(folder / "index.db")) as opened:
            assert opened.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
