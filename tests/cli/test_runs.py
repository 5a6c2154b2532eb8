"""`flowtoy runs`: listing, showing, reading and pruning."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FLOW = """
    name: two steps
    flow:
      - name: greets
        source: process
        input: {command: [sh, -c, "echo hello; echo aside >&2"]}
        output: [{name: text, value: stdout}]
      - name: bad
        source: process
        depends_on: greets
        input: {command: [sh, -c, "echo alas >&2; exit 5"]}
      - {name: after, source: env, depends_on: bad}
    """


@pytest.fixture
def ran(flowtoy: Callable[..., Any], write: Callable[..., Path]) -> Any:
    """A run that has failed, as `runs show --json` shows it."""
    assert flowtoy("run", write(FLOW), "-q").code == 1
    return flowtoy("runs", "show", "last", "--json").json


def test_a_home_without_runs_says_so(flowtoy: Callable[..., Any]) -> None:
    listed = flowtoy("runs")
    assert (listed.code, listed.stdout) == (0, "")
    assert "no runs yet" in listed.stderr
    assert flowtoy("runs", "-j").json == []
    last = flowtoy("runs", "show", "last")
    assert last.code == 2
    assert "there is no run yet" in last.stderr


def test_a_history_whose_database_is_gone_is_not_called_empty(
    flowtoy: Callable[..., Any], ran: Any, home: Path
) -> None:
    for file in (home / "history").glob("runs.db*"):
        file.unlink()
    listed = flowtoy("runs")
    assert (listed.code, listed.stdout) == (0, "")
    assert "this home has outputs of such runs" in listed.stderr
    assert "no runs yet" not in listed.stderr
    assert f"delete {home / 'flowtoy-records'}" in listed.stderr
    assert flowtoy("runs", "-j").json == []


def test_a_run_is_listed_and_shown(flowtoy: Callable[..., Any], ran: Any) -> None:
    assert ran["state"] == "failed"
    assert ran["name"] == "two steps"
    assert ran["retry_of"] is None
    assert list(ran["steps"]) == ["greets", "bad", "after"]
    bad = ran["steps"]["bad"]
    assert (bad["state"], bad["notes"], bad["attempt"]) == (
        "failed", ["sh exited with code 5: alas", "called: sh (2 arguments)", "stderr: alas"], 1,
    )
    assert bad["depends_on"] == ["greets"]
    assert ran["steps"]["after"]["notes"] == ["'bad' failed"]
    assert ran["steps"]["greets"]["outputs"] == ["text"]
    (listed,) = flowtoy("runs", "--json").json
    assert listed.pop("run_id") == ran["dagster_run_id"]
    assert {name: ran[name] for name in listed} == {
        name: pytest.approx(value) if isinstance(value, float) else value
        for name, value in listed.items()
    }
    table = flowtoy("runs")
    assert table.stderr == ""
    head, row = table.stdout.splitlines()
    assert head.split() == ["RUN", "FLOW", "STATE", "STARTED", "TOOK"]
    assert row.startswith(f"{ran['dagster_run_id'][:8]}  two steps  failed ")
    shown = flowtoy("runs", "show", ran["dagster_run_id"][:6])
    assert shown.code == 0
    assert f"run      {ran['dagster_run_id']}" in shown.stdout
    assert shown.stdout.count("sh exited with code 5") == 1
    assert "bad, the last lines of stderr:\n    alas" in shown.stdout
    rows = {line.split()[0]: line for line in shown.stdout.splitlines() if line[:1].isalpha()}
    assert "succeeded" in rows["greets"]
    assert rows["after"].endswith("'bad' failed")


def test_outputs_and_logs_of_a_run_are_printed(flowtoy: Callable[..., Any], ran: Any) -> None:
    outputs = flowtoy("runs", "outputs", "last", "-j")
    # language 9.6, 12
    assert outputs.json == {"greets": {"text": "hello\n"}, "bad": None, "after": None}
    assert flowtoy("runs", "outputs", ran["dagster_run_id"]).json == outputs.json
    logs = flowtoy("runs", "logs", "last")
    assert logs.stdout == "greets | hello\n"
    assert logs.stderr == "greets | aside\nbad | alas\n"
    one = flowtoy("runs", "logs", "last", "bad")
    assert (one.stdout, one.stderr) == ("", "alas\n")
    wrong = flowtoy("runs", "logs", "last", "greet")
    assert wrong.code == 2
    assert "there is no step 'greet'" in wrong.stderr
    assert "greets" in wrong.stderr


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("command", ["show", "outputs", "logs"])
def test_a_run_that_is_not_there_is_a_usage_error(
    command: str, flowtoy: Callable[..., Any]
) -> None:
    done = flowtoy("runs", command, "zzz")
    assert done.code == 2
    assert done.stdout == ""
    assert "there is no run 'zzz'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_oldest_runs_are_pruned(
    flowtoy: Callable[..., Any], write: Callable[..., Path], ran: Any
) -> None:
    flowtoy("run", write("flow: [{name: one, source: env}]", "other.yaml"), "-q")
    assert flowtoy("runs", "--limit", "1", "-j").json[0]["name"] == "other"
    pruned = flowtoy("runs", "prune", "--keep", "1", "--json")
    assert pruned.code == 0
    assert pruned.json == {"deleted": [ran["dagster_run_id"]]}
    assert [run["name"] for run in flowtoy("runs", "-j").json] == ["other"]
    none = flowtoy("runs", "prune", "--keep", "1")
    assert (none.stdout, none.stderr) == ("", "deleted 0 runs\n")
    for wrong in ([], ["--keep", "-1"], ["--keep", "many"]):
        assert flowtoy("runs", "prune", *wrong).code == 2


WAITS = """
    flow:
      - name: waits
        source: process
        input: {command: [sh, -c, "echo early; touch running; exec sleep 600"]}
      - {name: after, source: env, depends_on: waits}
    """


@pytest.fixture
def waiting(write: Callable[..., Path], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run whose step goes on for ever."""
    command = [sys.executable, "-m", "flowtoy_dagster", "run", str(write(WAITS))]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=dict(os.environ),
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "running").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield process
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=120)


def test_a_run_that_goes_on_is_shown_and_cancelled_from_elsewhere(
    flowtoy: Callable[..., Any], waiting: subprocess.Popen[bytes]
) -> None:
    # runtime 9, 12
    shown = flowtoy("runs", "show", "last", "-j").json
    assert shown["state"] == "running"
    assert shown["steps"]["waits"]["state"] == "running"
    assert shown["steps"]["after"]["state"] == "pending"
    assert flowtoy("runs", "logs", "last").stdout == "waits | early\n"
    early = flowtoy("retry", "last")
    assert early.code == 2
    assert "has not ended; flowtoy cancel ends it" in early.stderr
    cancelled = flowtoy("cancel", "last")
    assert cancelled.code == 0, cancelled.stderr
    assert (cancelled.stdout, cancelled.stderr) == (
        "", f"cancelled run {shown['dagster_run_id'][:8]}\n",
    )
    assert waiting.wait(timeout=120) == 130
    after = flowtoy("runs", "show", shown["dagster_run_id"][:10], "-j").json
    assert after["state"] == "cancelled"
    assert {name: step["state"] for name, step in after["steps"].items()} == {
        "waits": "failed", "after": "skipped",
    }
    assert after["steps"]["waits"]["notes"] == ["interrupted"]
    again = flowtoy("cancel", "last")
    assert again.code == 2
    assert "has ended already" in again.stderr


def test_a_run_that_has_ended_cannot_be_cancelled(flowtoy: Callable[..., Any], ran: Any) -> None:
    done = flowtoy("cancel", ran["dagster_run_id"])
    assert done.code == 2
    assert f"run {ran['dagster_run_id'][:8]} has ended already" in done.stderr
    assert flowtoy("cancel", "zzz").code == 2
