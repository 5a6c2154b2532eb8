"""A home that version 0.1.0 made goes on working: history, logs, retry, prune.

`tests/data/home-0.1.0.tar.gz` was made by 0.1.0: four runs of three flows. Absolute paths in it
are replaced by names that the fixture replaces again.
"""

from __future__ import annotations

import sqlite3
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ARCHIVE = Path(__file__).parent.parent / "data" / "home-0.1.0.tar.gz"


@pytest.fixture
def old_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of 0.1.0, as if it had been made where it lies now."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    home = tmp_path / "home"
    names = {"/HOME-OF-0.1.0": str(home), "/PYTHON": sys.executable, "/FLOWS": str(tmp_path)}
    settings = home / "dagster.yaml"
    text = settings.read_text()
    for name, path in names.items():
        text = text.replace(name, path)
    settings.write_text(text)
    for database in home.glob("history/**/*.db"):
        for name, path in names.items():
            _replace(database, name, path)
    monkeypatch.setenv("FLOWTOY_HOME", str(home))
    return home


def _replace(database: Path, name: str, path: str) -> None:
    columns = {"runs": ["run_body"], "event_logs": ["event"]}
    connection = sqlite3.connect(database)
    for table, names in columns.items():
        found = connection.execute("select 1 from sqlite_master where name = ?", (table,))
        for column in names if found.fetchone() else ():
            connection.execute(
                f"update {table} set {column} = replace({column}, ?, ?)", (name, path)
            )
    connection.commit()
    connection.close()


def test_its_runs_are_listed_shown_and_read(old_home: Path, flowtoy: Callable[..., Any]) -> None:
    listed = flowtoy("runs", "--json").json
    assert [(run["name"], run["state"]) for run in listed] == [
        ("slow", "cancelled"), ("orders", "failed"), ("orders", "failed"), ("hello", "succeeded")
    ]
    retried, first, hello = listed[1:]
    assert retried["retry_of"] == first["run_id"]
    assert flowtoy("runs", "outputs", hello["run_id"]).json == {
        "hello": {"text": "hello\n"}
    }
    shown = flowtoy("runs", "show", first["run_id"], "--json").json
    states = {name: step["state"] for name, step in shown["steps"].items()}
    assert states == {
        "fetch orders": "succeeded", "secret": "succeeded", "count": "failed", "report": "skipped"
    }
    assert flowtoy("runs", "logs", hello["run_id"], "hello").stdout == "hello\n"


def test_an_old_run_is_retried_with_what_had_succeeded(
    old_home: Path, flowtoy: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "marker"
    marker.touch()
    monkeypatch.setenv("MARKER", str(marker))
    orders = next(run for run in flowtoy("runs", "-j").json if run["name"] == "orders")
    retried = flowtoy("retry", orders["run_id"], "-j")
    assert retried.code == 0, retried.stderr
    assert "fetch orders  reused" in retried.stderr
    assert retried.json["fetch orders"] == {"rows": [{"id": 1}, {"id": 2}]}
    assert retried.json["report"] == {"text": "counted 2\n in us\n"}
    assert "s3cr3t-value-1234" not in retried.stdout + retried.stderr


def test_old_runs_are_pruned_with_all_they_left(
    old_home: Path, flowtoy: Callable[..., Any]
) -> None:
    assert flowtoy("runs", "prune", "--keep", "0").code == 0
    assert flowtoy("runs", "-j").json == []
    assert not list(old_home.rglob("*.jsonl"))
