"""A database that can't be used is told before any step starts, without its password."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import postgres_server as servers  # type: ignore[import-not-found]
import pytest

from flowtoy_dagster.engine.dagster_private.storage import InstanceRef
from flowtoy_dagster.engine.executors.warm.worker import Surroundings, opened_instance
from flowtoy_dagster.engine.storage import instances
from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.engine.storage.instances import instance_of, steady_instance
from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.masking.mask import storage_secrets
from flowtoy_dagster.runs.history import History

PASSWORDS = (servers.PASSWORD, servers.QUOTED, "wr0ngpass")


def error_of(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said where FLOWTOY_STORAGE has that value."""
    monkeypatch.setenv("FLOWTOY_STORAGE", address)
    with pytest.raises(HomeError) as caught:
        History()
    assert caught.value.exit_code == 2
    assert not any(password in str(caught.value) for password in PASSWORDS)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ((servers.QUOTED, "wr0ngpass"), 'password authentication failed for user "flow"'),
        (("127.0.0.1:{port}", "127.0.0.1:1"), "port 1 failed: Connection refused; Is the server"),
        (("/postgres", "/nowhere"), 'database "nowhere" does not exist'),
        (("127.0.0.1:{port}", "nowhere.invalid"), 'host name "nowhere.invalid"'),
    ],
    ids=["wrong password", "nobody listens", "no such database", "no such host"],
)
def test_a_database_that_cannot_be_reached_is_a_clear_error(
    change: tuple[str, str], told: str, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (part.format(port=server.port) for part in change)
    text = error_of(server.address("postgres").replace(old, new), monkeypatch)
    assert text.startswith("the database that FLOWTOY_STORAGE names can't be used: ")
    assert told in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    "address",
    ["mysql://flow:wr0ngpass@host/name", "flow:wr0ngpass@host/name",
     "postgresql://flow:wr0ngpass@here@host/name", "postgresql://flow:wr0ngpass/name",
     "postgresql://flow@host:wr0ngpass/name", "host=here password=wr0ngpass"],
)
def test_what_is_no_address_of_a_database_is_not_shown(
    address: str, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    first, fix = error_of(address, monkeypatch).splitlines()
    assert first == "FLOWTOY_STORAGE is not the address of a PostgreSQL database"
    assert "postgresql://user:password@host:5432/name, with %40 for an @" in fix
    assert list(home.iterdir()) == []


def test_a_home_of_a_database_needs_the_variable(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWTOY_STORAGE", "postgresql://flow:wr0ngpass@host/name")
    open_home(home)
    settings = home / "dagster.yaml"
    assert "wr0ngpass" not in settings.read_text()
    monkeypatch.delenv("FLOWTOY_STORAGE")
    with pytest.raises(HomeError, match="names, and it is not set"):
        open_home(home)
    # A comment needs nothing.
    settings.write_text("# as FLOWTOY_STORAGE says\n")
    open_home(home)


def test_a_home_of_files_does_not_take_the_variable_for_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_home(home)
    text = error_of("postgresql://flow:wr0ngpass@host/name", monkeypatch)
    assert text.startswith(f"FLOWTOY_STORAGE is set, but {home}/dagster.yaml keeps runs elsewhere")


def test_without_the_extra_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As where the packages are not installed: the tests' own environment has them.
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told = error_of("postgresql://flow:wr0ngpass@host/name", monkeypatch)
    assert told == (
        "PostgreSQL support is not installed\n    pip install 'flowtoy-dagster[postgres]'"
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("scheme: postgresql", "write the database's address as postgresql+psycopg2://"),
        ("no_such: option", "can't be used: Errors whilst loading"),
    ],
    ids=["the other driver", "a mistake"],
)
def test_a_deployments_own_storage_that_cannot_be_used_is_a_clear_error(
    options: str, told: str, home: Path
) -> None:
    (home / "dagster.yaml").write_text(
        "storage: {postgres: {postgres_db: {username: flow, password: wr0ngpass, hostname: h, "
        f"db_name: n, {options}}}}}}}\n"
    )
    with pytest.raises(HomeError) as caught:
        History()
    assert told in str(caught.value)
    assert str(home / "dagster.yaml") in str(caught.value)
    assert "wr0ngpass" not in str(caught.value)


def test_no_step_starts_and_no_traceback_is_shown(
    server: Any, write: Callable[..., Path], flowtoy: Callable[..., Any], tmp_path: Path
) -> None:
    flow = write("flow: [{name: a, source: process, input: {command: [touch, started]}}]")
    address = server.address("postgres", "wr0ngpass")
    done = flowtoy("run", flow, env={"FLOWTOY_STORAGE": address})
    assert done.code == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "password authentication failed" in line
    assert "wr0ngpass" not in line
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("address", "secrets"),
    [
        ("postgresql://u:s3cret@h/d", {"s3cret"}),
        ("postgresql://u:s3%40t@h:1/d?sslmode=require", {"s3%40t", "s3@t"}),
        ("postgresql://h/d?user=u&password=s3cret", {"s3cret"}),
        ("postgresql://u:s3cr/et#1@h/d", {"s3cr/et#1", "s3cr", "et", "1"}),
        ("postgresql://flow:flow@h/d", set()),
        ("postgresql://u:d@h/d", set()),
    ],
    ids=["plain", "quoted", "as a parameter", "with what ends a host", "as the user",
         "as the database"],
)
def test_the_address_and_the_password_in_it_are_secret(address: str, secrets: set[str]) -> None:
    assert storage_secrets({"FLOWTOY_STORAGE": address}) == {address, *secrets}


@pytest.mark.parametrize("address", ["", "postgresql:///d", "postgresql://u@h:1/d?sslmode=require"])
def test_an_address_without_a_password_is_no_secret(address: str) -> None:
    assert storage_secrets({"FLOWTOY_STORAGE": address}) == set()


def test_a_process_of_a_run_waits_for_a_connection(
    database: Any, home: Path
) -> None:
    ref = InstanceRef.from_dir(str(open_home(home)))
    instance_of(ref).dispose()

    def allow(is_allowed: bool) -> None:
        database.server.sql(
            "postgres", f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS {is_allowed}"
        )

    allow(False)
    with pytest.raises(HomeError, match="not currently accepting connections"):
        instance_of(ref)
    later = threading.Timer(1, allow, [True])
    later.start()
    steady_instance(ref).dispose()
    later.join()


def test_a_process_of_a_run_that_gets_no_connection_ends_without_a_traceback(
    database: Any, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(instances, "PATIENCE", 0.0)
    around = Surroundings(InstanceRef.from_dir(str(open_home(home))), {}, None)
    database.server.sql("postgres", f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
    with pytest.raises(SystemExit) as ended:
        opened_instance(around)
    assert ended.value.code == 2
    assert "not currently accepting connections" in capsys.readouterr().err
