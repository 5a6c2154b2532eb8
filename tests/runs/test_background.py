"""Runs that a process of their own carries."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher import LaunchRunContext

from flowtoy_dagster.engine.storage.instances import serving_instance
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.runs.create import create_run
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.processes.background_run import PATIENCE, launch_background
from flowtoy_dagster.runs.processes.dagster_launcher import LAUNCHER, FlowtoyRunLauncher
from flowtoy_dagster.runs.processes.run_process import RunProcess

DEADLINE = 120.0
WAITS = """
flow:
  - name: waits
    source: {type: process, configuration: {shell: true}}
    input: {command: "echo $$ > started; while :; do sleep 0.05; done"}
"""


@pytest.fixture
def history(made_home: Path) -> Iterator[History]:
    with History(made_home) as opened:
        yield opened


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.03)
    return found


def command_of(folder: Path) -> int:
    """The process of the step that waits, once it has started."""
    started = folder / "started"
    return int(wait_until(lambda: started.exists() and started.read_text().strip(), "a start"))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_run_in_the_background_can_be_watched_and_cancelled_with_its_commands(
    history: History, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    process = RunProcess()
    flow = load_flow(write(WAITS))
    run = launch_background(history, flow, tags={"team": "data"}, process=process)
    # Another process writes them, to a database whose connections are kept.
    told: list[Any] = []
    history.instance.watch_event_logs(
        run.run_id, None, lambda entry, cursor: told.append(entry.dagster_event_type)
    )
    command = command_of(tmp_path)
    assert not run.ended
    # What everybody on the machine can see.
    shown = Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
    assert shown[-2:] == ["flowtoy_dagster.runs.processes.run_process_main", ""]
    assert [len(word) < 200 for word in shown] == [True] * 5
    wait_until(lambda: dg.DagsterEventType.STEP_START in told, "watchers hear of the start")
    run.cancel()
    assert run.wait(DEADLINE)
    wait_until(lambda: dg.DagsterEventType.RUN_CANCELED in told, "watchers hear of the end")
    assert told.count(dg.DagsterEventType.STEP_START) == 1
    found = history.find(run.run_id)
    assert found.tags["team"] == "data"
    assert history.status(found).state == "cancelled"
    wait_until(lambda: not is_alive(command), "the command has ended")


def test_files_beside_a_flow_take_no_modules_place(
    history: History, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("runpy", "types", "queue", "json", "yaml", "dagster"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a module of the user')\n")
    monkeypatch.chdir(tmp_path)
    flow = load_flow(write("flow: [{name: a, source: {type: process, command: [cat, json.py]}}]"))
    run = launch_background(history, flow, process=RunProcess())
    assert run.wait(DEADLINE)
    assert history.status(history.find(run.run_id)).state == "succeeded"


# runtime 8: what becomes of a run whose process is gone is told
def test_a_run_whose_process_is_killed_has_failed(
    history: History, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    process = RunProcess()
    run = launch_background(history, load_flow(write(WAITS)), process=process)
    command = command_of(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    assert run.wait(DEADLINE)
    status = history.status(history.find(run.run_id))
    assert status.state == "failed"
    assert "was killed by signal 9 (SIGKILL)" in (status.error or "")
    wait_until(lambda: not is_alive(command), "the command has ended")


# runtime 10
def test_a_run_ends_with_the_process_that_has_asked_for_it(
    history: History, write: Callable[..., Path], tmp_path: Path
) -> None:
    write(WAITS)
    asks = """if True:
        import time
        from flowtoy_dagster.loader import load_flow
        from flowtoy_dagster.runs.processes.background_run import launch_background
        from flowtoy_dagster.runs.history import History
        with History() as history:
            launch_background(history, load_flow("flow.yaml"))
            time.sleep(600)
    """
    asker = subprocess.Popen([sys.executable, "-c", asks], cwd=tmp_path)
    command = command_of(tmp_path)
    asker.kill()
    asker.wait()
    wait_until(lambda: not is_alive(command), "the command has ended")
    found = history.find("last")
    wait_until(lambda: history.status(found).state == "failed", "the history tells")
    assert "interrupted" in (history.status(found).error or "")


def test_a_run_that_succeeds_although_it_was_to_be_cancelled_has_succeeded(
    history: History, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ends = WAITS.replace("while :;", "while ! [ -e end ];")
    process = RunProcess()
    run = launch_background(history, load_flow(write(ends)), process=process)
    command_of(tmp_path)
    # As if it came when the last step had ended.
    monkeypatch.setattr(process, "interrupt", lambda: None)
    run.cancel()
    stored = history.instance.get_run_by_id(run.run_id)
    assert stored is not None
    assert stored.status == dg.DagsterRunStatus.STARTED
    (tmp_path / "end").touch()
    assert run.wait(DEADLINE)
    assert history.status(history.find(run.run_id)).state == "succeeded"


def test_a_run_that_is_cancelled_before_its_process_listens_is_cancelled(
    history: History, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = RunProcess()
    monkeypatch.setattr(process, "carry", lambda *_: None)  # it still loads modules
    run = launch_background(history, load_flow(write(WAITS)), process=process)
    run.cancel()
    run.kill()
    assert run.wait(DEADLINE)
    assert history.status(history.find(run.run_id)).state == "cancelled"


def test_a_run_that_was_started_on_a_page_has_its_grace(
    history: History, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # language 19.3
    monkeypatch.chdir(tmp_path)
    flow = load_flow(write(
        "runner: {grace: 5m}\n" + WAITS.lstrip() + "  - {name: cleans, run_if: always, source: env}"
    ))
    _, run = create_run(history, flow, 1)
    with serving_instance(history.home, LAUNCHER) as instance:
        launcher = instance.run_launcher
        assert isinstance(launcher, FlowtoyRunLauncher)
        launcher.launch_run(LaunchRunContext(run, None))
        command_of(tmp_path)
        assert launcher.patience == PATIENCE + 300
        assert launcher.terminate(run.run_id)
        wait_until(lambda: launcher.is_idle, "the run ends")
        assert launcher.patience == 0
    ended = history.status(history.find(run.run_id))
    assert (ended.state, ended.steps["cleans"].state) == ("cancelled", "succeeded")
