"""Workers that start while their run is created, before it is known what they will run."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

COMMAND = """
import json, os, sys, time
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.cli.shared.execute import prepare_process

step = {"source": "process", "input": {"command": ["sh", "-c", "echo $PPID"]},
        "output": [{"name": "worker", "value": "stdout"}]}
flow = load_flow({"flow": [{"name": "a", **step}, {"name": "b", **step},
                           {"name": "c", "depends_on": ["a", "b"], **step}]})
prepare_process(flow, 4)

import psutil
from flowtoy_dagster.runs.run import run_flow

early = []
def look():
    [server] = psutil.Process().children()
    deadline = time.monotonic() + 60
    while len(early) < 2 and time.monotonic() < deadline:
        early[:] = [process.pid for process in server.children()]

if sys.argv[1] == "before the home":
    look()
def created(run_id):
    # Nothing of the run is executed before this returns.
    look()
    if sys.argv[1] == "elsewhere":
        os.environ["SET_LATER"] = "another"

run = run_flow(flow, 4, on_created=created)
print(json.dumps({"early": early, "state": run.status.state,
                  "used": [int(output["worker"]) for output in run.outputs.values()]}))
"""


def ran(how: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, how], capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["state"] == "succeeded", done.stderr
    assert len(found["early"]) == 2
    return found


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("when", ["before the home", "while the run is created"])
def test_as_many_workers_as_the_plan_is_wide_start_early(when: str) -> None:
    found = ran(when)
    assert set(found["used"]) <= set(found["early"])


@pytest.mark.usefixtures("home")
def test_a_worker_that_started_in_another_environment_runs_no_step() -> None:
    found = ran("elsewhere")
    assert not set(found["used"]) & set(found["early"])
