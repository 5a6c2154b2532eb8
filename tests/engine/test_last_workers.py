"""Workers that end while the end of their run is stored and shown."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

COMMAND = """
import json, sys
import psutil
from flowtoy_dagster.cli.shared.execute import prepare_process
from flowtoy_dagster.engine.executors.warm.forked_off import workers_end_last
from flowtoy_dagster.loader import load_flow

command = ["sh", "-c", sys.argv[1]]
flow = load_flow({"flow": [{"name": "a", "source": "process", "input": {"command": command}}]})
prepare_process(flow, 1)

from flowtoy_dagster.runs.run import run_flow

def servers():
    return len(psutil.Process().children())

def alone():
    return run_flow(flow, 1).status.state, servers()

def in_block():
    with workers_end_last():
        state, left = alone()
    return state, left, servers()

print(json.dumps(in_block() if sys.argv[2] == "in a block" else alone()))
"""


def ran(script: str, where: str) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, script, where], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.mark.usefixtures("home")
def test_the_end_of_the_block_waits_for_the_workers() -> None:
    assert ran("true", "in a block") == ["succeeded", 1, 0]


@pytest.mark.usefixtures("home")
def test_the_end_of_the_run_waits_for_them_where_there_is_no_block() -> None:
    assert ran("true", "alone") == ["succeeded", 0]


@pytest.mark.usefixtures("home")
def test_the_end_of_the_run_waits_for_what_a_killed_worker_has_left() -> None:
    assert ran("kill -9 $PPID; sleep 60", "in a block") == ["failed", 0, 0]
