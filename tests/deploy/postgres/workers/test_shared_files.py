"""Workers whose shared files are slow, or are not those of the run."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.executors.remote.needs import LEASE
from flowtoy_dagster.loader import load_flow, with_executor
from flowtoy_dagster.store.configs import CONFIGS_FOLDER, configs_of

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")

BUSY = """
    flow:
      - {name: busy, source: {type: process, command: [sh, -c, "echo >>MARK; sleep 20"]}}
"""
LATE = """
    flow:
      - {name: late, source: {type: process, command: [sh, -c, "echo >>MARK"]}}
"""


def with_files(machines: Any, name: str) -> Path:
    """A folder like the shared one, but for configurations."""
    folder: Path = machines.folder / name
    folder.mkdir(mode=0o700)
    for shared in ("flowtoy-records", "storage"):
        (machines.files / shared).mkdir(mode=0o700, exist_ok=True)
        (folder / shared).symlink_to(machines.files / shared)
    (folder / CONFIGS_FOLDER).mkdir(mode=0o700)
    return folder


@pytest.mark.timeout(200)
def test_a_store_that_does_not_answer_costs_no_worker_its_steps(
    here: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    marks = [tmp_path / "busy", tmp_path / "late"]
    flows = [
        with_executor(
            load_flow(write(text.replace("MARK", str(mark)), f"{mark.name}.yaml")), "workers"
        )
        for text, mark in zip((BUSY, LATE), marks, strict=True)
    ]
    saved = configs_of(Path(os.environ["FLOWTOY_HOME"]))
    names = [f"{saved.save_flow(flow)}.json" for flow in flows]
    files = with_files(here, "slow")
    first, second = (files / CONFIGS_FOLDER / name for name in names)
    shutil.copy(here.files / CONFIGS_FOLDER / names[0], first)
    # It is there when somebody writes to it: as on a network whose server does not answer.
    os.mkfifo(second)
    worker = here.start("-c", "2", FLOWTOY_FILES=str(files))
    done: dict[str, Any] = {}
    runs = [threading.Thread(target=lambda n=n, f=f: done.update({n: run_flow(f)}))  # type: ignore[misc]
            for n, f in zip(("busy", "late"), flows, strict=True)]
    runs[0].start()
    here.wait_until(marks[0].exists, "the step that runs meanwhile")
    runs[1].start()
    with open(second, "wb") as held:
        time.sleep(LEASE + 3)
        data = (here.files / CONFIGS_FOLDER / names[1]).read_bytes()
        second.unlink()
        second.write_bytes(data)
        held.write(data)
    for run in runs:
        run.join()
    for name, mark in zip(("busy", "late"), marks, strict=True):
        step = done[name].status.steps[name]
        assert (step.state, step.attempt) == ("succeeded", 1), step.error
        assert mark.read_text() == "\n"
    assert "is lost" not in worker.log
    assert worker.end() == 0


def test_a_worker_with_files_of_its_own_says_where_it_has_looked(
    here: Any, write: Callable[..., Path]
) -> None:
    flow = write("""
        runner: {executor: workers}
        flow:
          - {name: one, source: {type: process, command: [echo, one]}}
    """)
    files = with_files(here, "other")
    worker = here.start(FLOWTOY_FILES=str(files))
    done = run_flow(flow)
    error = done.status.steps["one"].error
    assert f"the configuration of the run is not in the folder {files}; set FLOWTOY_FILES" in error
    assert worker.end() == 0
