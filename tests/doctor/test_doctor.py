"""`flowtoy doctor` asks what is configured, tells faults with their fixes, and writes nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flowtoy_dagster.doctor import folders, home, packages
from flowtoy_dagster.engine.executors.kinds import EXECUTORS
from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.health import Health

Answers = Callable[..., list[Health]]
not_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


def texts(found: list[Health], state: str) -> list[str]:
    """What is said of the parts in a state."""
    return [f"{one.part}: {one.text}" for one in found if one.state == state]


def test_a_new_machine_is_well_and_nothing_is_made(
    home: Path, answers: Answers, unchanged: Callable[[], bool]
) -> None:
    home.rmdir()
    unchanged()
    found = answers()
    assert texts(found, "fault") == []
    (told,) = [one.text for one in found if one.part == "home"]
    assert told == f"{home} does not exist yet: the first command makes it"
    assert ("files", "off") in [(one.part, one.state) for one in found]
    assert unchanged()
    assert not home.exists()


def test_packages_that_nothing_is_configured_for_may_be_absent(
    home: Path, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.startswith(("psycopg2", "flowtoy_dagster.engine.executors.remote.")):
            monkeypatch.delitem(sys.modules, name)
    for package in ("psycopg2", "celery", "distributed"):
        monkeypatch.setitem(sys.modules, package, None)
    assert texts(answers(), "fault") == []


def test_a_home_that_was_used_is_well_and_stays_as_it_is(
    made_home: Path, answers: Answers, unchanged: Callable[[], bool]
) -> None:
    unchanged()
    found = answers("home", "database")
    assert [one.state for one in found] == ["ok", "ok"]
    assert found[1].text == "history is in the home, in SQLite"
    assert unchanged()


def test_the_command_ends_with_0_1_or_2(flowtoy: Any, home: Path, tmp_path: Path) -> None:
    well = flowtoy("doctor")
    assert (well.code, well.stdout.splitlines()[-1]) == (0, "all well")
    env_file = tmp_path / "storage.env"
    env_file.write_text("FLOWTOY_STORAGE=postgresql://flow:geh31mnis@127.0.0.1:1/name\n")
    ill = flowtoy("doctor", "--env-file", env_file, "--format", "json")
    assert ill.code == 1
    assert ill.json["ok"] is False
    (fault,) = [part for part in ill.json["parts"] if part["state"] == "fault"]
    assert fault["part"] == "database"
    assert "Connection refused" in fault["text"]
    assert fault["fix"] == "start the server, or correct host and port in FLOWTOY_STORAGE"
    assert "geh31mnis" not in ill.stdout + ill.stderr
    assert flowtoy("doctor", "now").code == 2
    assert flowtoy("doctor", "--format", "xml").code == 2


@pytest.mark.parametrize("value", ["mysql://flow:geh31mnis@host/name", "flow:geh31mnis@host"])
def test_what_is_no_address_is_a_fault_and_not_shown(
    value: str, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWTOY_STORAGE", value)
    (fault,) = answers("database", "workers")
    assert fault.state == "fault"
    assert "is not the address of a PostgreSQL database" in fault.text
    assert "postgresql://user:password@host:5432/name" in (fault.fix or "")
    assert "geh31mnis" not in repr(answers())


def test_secrets_of_the_environment_are_masked_wherever_they_are(
    answers: Answers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "geh31mnis")
    monkeypatch.setenv("FLOWTOY_FILES", str(tmp_path / "geh31mnis"))
    assert "geh31mnis" not in repr(answers())


def test_the_home_and_the_environment_must_agree_on_the_database(
    home: Path, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_home(home)
    monkeypatch.setenv("FLOWTOY_STORAGE", "postgresql://flow:geh31mnis@127.0.0.1:1/name")
    (fault,) = answers("database")
    assert "keeps runs elsewhere" in fault.text
    assert fault.fix is not None
    assert fault.fix.startswith("set FLOWTOY_HOME to a new folder")


def test_an_open_home_is_a_fault_and_is_not_closed(home: Path, answers: Answers) -> None:
    home.chmod(0o755)
    (fault,) = answers("home")
    assert fault.text == f"{home} is open to other users (mode 0755)"
    assert fault.fix == f"chmod 0700 {home}"
    assert home.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("value", "told"),
    [("/tmp", "folder for all users"), ("/dev/null", "is not a folder"),
     ("/dev/null/below", "is not a folder"), ("/tmp/a%41b", "special meaning")],
)
def test_a_home_that_cannot_be_used_says_why(
    value: str, told: str, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWTOY_HOME", value)
    (fault,) = answers("home")
    assert fault.state == "fault"
    assert told in fault.text
    assert fault.fix


@not_root
def test_a_folder_without_rights_is_a_fault(home: Path, answers: Answers) -> None:
    home.chmod(0o500)
    (fault,) = answers("home")
    assert "can't be written" in fault.text


def test_a_read_only_file_system_is_a_fault_of_its_own(
    home: Path, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None can be mounted in a test; this is what the system says of one.
    facts = SimpleNamespace(f_flag=os.ST_RDONLY)
    monkeypatch.setattr(folders, "os", SimpleNamespace(**vars(os) | {"statvfs": lambda _: facts}))
    (fault,) = answers("home")
    assert fault.text == f"{home} is on a read-only file system"
    assert fault.fix == "mount it writable, or name another folder"


def test_a_full_disk_is_a_fault(
    home: Path, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No disk can be filled in a test; this raises what counts as full instead.
    monkeypatch.setattr(folders, "LEAST_FREE", 1 << 80)
    (fault,) = answers("home")
    assert fault.text == f"the disk of {home} is full"


def test_a_damaged_history_is_a_fault_and_one_of_a_newer_version_too(
    made_home: Path, answers: Answers
) -> None:
    path = made_home / "history" / "runs.db"
    shutil.copy(path, made_home / "kept")
    path.write_bytes(b"not a database at all" * 100)
    (fault,) = answers("database")
    assert f"{path} can't be read: file is not a database" in fault.text
    shutil.copy(made_home / "kept", path)
    with sqlite3.connect(path) as opened:
        opened.execute("UPDATE alembic_version SET version_num = '0123456789ab'")
        opened.commit()
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    opened.close()
    states = [(one.state, one.text) for one in answers("database")]
    assert ("fault", "the tables are of a newer version of Dagster") in states


def test_a_history_on_a_file_system_of_the_network_is_a_fault(
    made_home: Path, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No test can mount one.
    monkeypatch.setattr(home, "is_on_network", lambda folder: folder == made_home)
    (fault,) = answers("database")
    assert "file system of the network" in fault.text
    assert "PostgreSQL" in (fault.fix or "")


def test_a_storage_of_a_deployments_own_is_not_asked(home: Path, answers: Answers) -> None:
    (home / "dagster.yaml").write_text("storage:\n  sqlite:\n    base_dir: /elsewhere\n")
    (told,) = answers("database")
    assert told.state == "off"
    assert "dagster.yaml says" in told.text


@pytest.mark.parametrize(
    ("value", "told"),
    [("relative", "not an absolute path"), ("/nowhere/at/all", "does not exist"),
     ("/dev/null", "is not a folder")],
)
def test_files_that_cannot_be_shared_say_why(
    value: str, told: str, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWTOY_FILES", value)
    (fault,) = answers("files")
    assert (fault.state, told in fault.text, bool(fault.fix)) == ("fault", True, True)


def test_a_folder_for_the_files_is_well(
    answers: Answers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLOWTOY_FILES", str(tmp_path))
    (told,) = answers("files")
    assert (told.state, told.text.startswith(f"{tmp_path}, ")) == ("ok", True)


@pytest.mark.parametrize(
    ("name", "told"),
    [("worker", "'worker' is not one of"), ("workers", "needs the history of runs in PostgreSQL")],
)
def test_the_executor_of_the_deployment_must_be_usable(
    name: str, told: str, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWTOY_EXECUTOR", name)
    (fault,) = answers("executor", "workers")
    assert told in fault.text
    assert fault.fix


def test_each_executor_answers_for_its_broker_and_one_that_breaks_hides_no_other(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {}

    def answer(*, is_wanted: bool) -> Iterator[Health]:
        wanted["warm"] = is_wanted
        yield Health("broker", "fault", "does not answer", "start it")
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr(EXECUTORS["warm"], "examine", answer)
    monkeypatch.setenv("FLOWTOY_EXECUTOR", "warm")
    found = [one for one in answers("broker", "executor", "workers") if one.state != "off"]
    assert wanted == {"warm": True}
    assert [one.text for one in found] == [
        "warm (FLOWTOY_EXECUTOR)", "does not answer",
        "'warm' can't be examined: ZeroDivisionError: no luck",
    ]


@pytest.mark.parametrize(
    ("name", "address", "told"),
    [
        ("celery", "amqp://flow:geh31mnis@127.0.0.1:1//", "does not answer: "),
        ("celery", "redis://:geh31mnis@127.0.0.1:1/0", "does not answer: "),
        ("dask", "tcp://127.0.0.1:1", "does not answer: "),
        ("celery", "http://flow:geh31mnis@host", "is not the address of a broker"),
    ],
)
def test_a_broker_that_does_not_answer_is_a_fault_without_its_password(
    name: str, address: str, told: str, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = {"celery": "FLOWTOY_BROKER", "dask": "FLOWTOY_DASK"}[name]
    pytest.importorskip({"celery": "celery", "dask": "distributed"}[name])
    monkeypatch.setenv("FLOWTOY_STORAGE", "postgresql://flow:geh31mnis@127.0.0.1:1/name")
    monkeypatch.setenv(variable, address)
    monkeypatch.setattr(
        "flowtoy_dagster.engine.executors.brokers.dask.sender.CONNECT_TIMEOUT", 0.5
    )
    (fault,) = [one for one in answers("broker") if one.state == "fault"]
    assert told in fault.text
    assert "Errno" not in fault.text
    assert fault.fix
    assert "geh31mnis" not in repr(answers())


def test_an_object_store_without_an_access_key_is_a_fault_at_once(
    flowtoy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # In a process of its own: clients that other tests have made are kept, with their keys.
    pytest.importorskip("s3fs")
    for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("FLOWTOY_FILES", "s3://no-such-bucket-of-ours/x")
    monkeypatch.setenv("FLOWTOY_STORAGE", "postgresql://flow:geh31mnis@127.0.0.1:1/name")
    done = flowtoy("doctor")
    told = " ".join(f"{done.stdout} {done.stderr}".split())
    assert "s3://no-such-bucket-of-ours/x can't be read: " in told
    assert "fix: set the access key (such as AWS_ACCESS_KEY_ID), or log in" in told
    assert "waiting for" not in told


def test_packages_that_do_not_fit_are_faults(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"dagster": "1.9.0", "jinja2": None}
    monkeypatch.setattr(
        packages, "_version_of", lambda name: found.get(name, metadata.version(name))
    )
    faults = {one.text: one.fix for one in answers("packages") if one.state == "fault"}
    assert faults["jinja2 is not installed"] == "pip install 'jinja2>=3.1.6'"
    (text,) = [text for text in faults if text.startswith("dagster 1.9.0 does not fit")]
    assert (faults[text] or "").startswith("pip install 'dagster<1.14")
    assert len(faults) == 2


def test_the_revisions_of_dagsters_tables_are_found_without_importing_it() -> None:
    from flowtoy_dagster.doctor.revisions import known_revisions

    known, latest = known_revisions()
    assert len(known) > 40
    assert len(latest) == 1
