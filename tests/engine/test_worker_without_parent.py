"""A worker whose run's process is gone stores nothing more of its step."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from flowtoy_dagster.runs.history import History

CARRIER = """
import os, runpy, sys, time
from flowtoy_dagster.engine.executors.warm import worker
# Else the worker would end itself at some time during what follows.
worker._watch_parent = lambda *_: time.sleep(600)
open("carrier", "w").write(str(os.getpid()))
sys.argv[0] = "flowtoy"
runpy.run_module("flowtoy_dagster", run_name="__main__")
"""


def test_a_step_that_ends_after_its_run_was_killed_is_not_stored_as_failed(
    write: Callable[..., Path], home: Path
) -> None:
    flow = write("""
        flow:
          - name: rows
            for_each: {in: [a, b], concurrency: 1}
            source:
              type: process
              command: [sh, -c, "echo $PPID > worker; kill -9 $(cat carrier); sleep 1; false"]
    """)
    ran = subprocess.run(
        [sys.executable, "-c", CARRIER, "run", str(flow), "-q"], cwd=flow.parent, timeout=200,
        capture_output=True, env={**os.environ, "FLOWTOY_HOME": str(home)},
    )  # fmt: skip
    assert ran.returncode == -9
    worker = int((flow.parent / "worker").read_text())
    while Path(f"/proc/{worker}").exists():
        time.sleep(0.1)
    with History(home) as history:
        (run,) = history.instance.get_runs()
        events = history.instance.all_logs(run.run_id)
    kinds = {entry.dagster_event_type.value for entry in events if entry.dagster_event_type}
    assert "STEP_START" in kinds
    assert not {"STEP_FAILURE", "STEP_UP_FOR_RETRY"} & kinds
