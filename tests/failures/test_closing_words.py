"""What closing steps are told of a run that is being ended, and what is told of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

SLEEP = {"source": "process", "input": {"command": ["sleep", "600"]}}
INTERRUPTED_AT = """
import os, signal, sys
from dagster import DagsterEvent

moment = sys.argv.pop(1)
make = getattr(DagsterEvent, moment)


def make_then_interrupt(*args, **kwargs):
    setattr(DagsterEvent, moment, make)
    event = make(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGINT)
    return event


setattr(DagsterEvent, moment, make_then_interrupt)
from flowtoy_dagster.cli import command
command()
"""
TELLS = "{{ [steps.a.state, steps.a.error, steps.n.state, run.state, run.failed] | tojson }}"


def flow(executor: str, told: Path, grace: str, *last: dict[str, Any]) -> str:
    command = ["sh", "-c", f'echo "$1" > {told}', "-", TELLS]
    return json.dumps({
        "runner": {"executor": executor, "grace": grace},
        "flow": [
            {"name": "a", **SLEEP},
            {"name": "n", "depends_on": "a", "source": "env"},
            {"name": "tells", "run_if": "always", "depends_on": ["a", "n"], "source": "process",
             "input": {"command": command}},
            *last,
        ],
    })


@pytest.mark.timeout(300)
@pytest.mark.parametrize("executor", ["warm", "in_process", "multiprocess"])
def test_an_interrupted_step_has_failed_for_closing_steps_too(
    executor: str, begin: Callable[..., Any], wait_until: Callable[..., None],
    write: Callable[..., Path], tmp_path: Path, show_last: Callable[[], Any],
) -> None:
    # language 19.3
    long = {"name": "long", "run_if": "always", "depends_on": "tells", **SLEEP}
    path = write(flow(executor, tmp_path / "told", "20s", long), "flow.yaml")
    running = begin("run", path)
    wait_until(lambda: "a      running" in running.stderr, "the step runs")
    running.send(signal.SIGINT)
    assert running.end() == 130
    told = json.loads((tmp_path / "told").read_text())
    assert told == ["failed", "interrupted", "skipped", "cancelled", ["a"]]
    shown = show_last()["steps"]
    assert {name: step["state"] for name, step in shown.items()} == {
        "a": "failed", "n": "skipped", "tells": "succeeded", "long": "failed",
    }
    assert "timeout" not in running.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("executor", "is_running"), [
    ("multiprocess", False), ("multiprocess", True), ("warm", True),
])
def test_a_signal_to_all_processes_of_its_group_ends_the_run_and_no_more(
    number: signal.Signals, executor: str, is_running: bool, begin: Callable[..., Any],
    wait_until: Callable[..., None], write: Callable[..., Path], tmp_path: Path,
    show_last: Callable[[], Any],
) -> None:
    running = begin("run", write(flow(executor, tmp_path / "told", "10m"), "flow.yaml"))

    def has_begun() -> bool:
        if is_running:
            return "a      running" in running.stderr
        started = psutil.Process(running.process.pid).children(recursive=True)
        return any("multiprocessing.forkserver" in " ".join(one.cmdline()) for one in started)

    wait_until(has_begun, "the process that steps are forked from, or a step, is started")
    # As a terminal sends them, or `timeout`.
    os.killpg(running.process.pid, number)
    assert running.end() == 130
    assert "Traceback" not in running.stderr
    assert show_last()["state"] == "cancelled"
    assert (tmp_path / "told").exists()
    wait_until(lambda: not running.processes(), "nothing of the run is left")


@pytest.mark.timeout(200)
@pytest.mark.parametrize(("executor", "moment"), [
    ("multiprocess", "step_worker_starting"),  # its process is not there yet, to be ended
    ("in_process", "resource_init_start"),  # the run has started, and no step is looked for yet
])
def test_an_interrupt_before_the_first_step_has_started_ends_the_run_as_any_other_does(
    executor: str, moment: str, write: Callable[..., Path], tmp_path: Path,
    show_last: Callable[[], Any],
) -> None:
    # language 19.3
    path = write(flow(executor, tmp_path / "told", "10m"), "flow.yaml")
    code = [sys.executable, "-c", INTERRUPTED_AT, moment, "run", path]
    done = subprocess.run(code, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130, done.stderr
    shown = show_last()
    assert shown["state"] == "cancelled"
    assert {name: step["state"] for name, step in shown["steps"].items()} == {
        "a": "skipped", "n": "skipped", "tells": "succeeded",
    }
    assert (tmp_path / "told").exists()
