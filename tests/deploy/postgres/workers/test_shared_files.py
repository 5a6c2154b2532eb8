"""Workers whose shared files are slow, or are not those of the run."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.executors.remote import message, pool
from flowtoy_dagster.engine.executors.remote.database import Database
from flowtoy_dagster.engine.executors.remote.needs import LEASE
from flowtoy_dagster.engine.executors.remote.workers import PostgresQueue
from flowtoy_dagster.engine.sites import site
from flowtoy_dagster.loader import load_flow, with_executor
from flowtoy_dagster.store.configs import CONFIGS_FOLDER, configs_of
from flowtoy_dagster.store.shared.identity import IDENTITY_FOLDER, identity_of_files

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")

BUSY = """
    flow:
      - {name: busy, source: {type: process, command: [sh, -c, "echo >>MARK; sleep 20"]}}
"""
LATE = """
    flow:
      - {name: late, source: {type: process, command: [sh, -c, "echo >>MARK"]}}
"""


SLOW = """
import os, time

open_at_once = os.open

def open_slowly(path, *args, **options):
    if os.fspath(path).endswith(os.environ["SLOW"]):
        while os.path.exists(os.environ["HELD"]):
            os.close(open_at_once(os.environ["ASKED"], os.O_CREAT))
            time.sleep(0.05)
    return open_at_once(path, *args, **options)

os.open = open_slowly
"""
"""Has a process wait for a file, as on a network whose server does not answer."""


def with_files(machines: Any, name: str) -> Path:
    """A folder like the shared one, but for configurations."""
    folder: Path = machines.folder / name
    folder.mkdir(mode=0o700)
    for shared in ("flowtoy-records", "storage"):
        (machines.files / shared).mkdir(mode=0o700, exist_ok=True)
        (folder / shared).symlink_to(machines.files / shared)
    (folder / CONFIGS_FOLDER).mkdir(mode=0o700)
    identity_of_files(machines.folder / "carrier")
    (folder / IDENTITY_FOLDER).symlink_to(machines.files / IDENTITY_FOLDER)
    return folder


@pytest.mark.timeout(500)
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
    for name in names:
        shutil.copy(here.files / CONFIGS_FOLDER / name, files / CONFIGS_FOLDER / name)
    held, asked = tmp_path / "held", tmp_path / "asked"
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    held.touch()
    variables = {"PYTHONPATH": tmp_path, "SLOW": names[1], "HELD": held, "ASKED": asked}
    given = {name: str(value) for name, value in variables.items()}
    worker = here.start("-c", "2", FLOWTOY_FILES=str(files), **given)
    done: dict[str, Any] = {}
    runs = [threading.Thread(target=lambda n=n, f=f: done.update({n: run_flow(f)}))  # type: ignore[misc]
            for n, f in zip(("busy", "late"), flows, strict=True)]
    runs[0].start()
    here.wait_until(marks[0].exists, "the step that runs meanwhile")
    runs[1].start()
    here.wait_until(asked.exists, "a question to the store")
    time.sleep(LEASE + 3)
    held.unlink()
    for run in runs:
        run.join()
    for name, mark in zip(("busy", "late"), marks, strict=True):
        step = done[name].status.steps[name]
        assert (step.state, step.attempt) == ("succeeded", 1), step.error
        assert mark.read_text() == "\n"
    assert "is lost" not in worker.log
    assert worker.end() == 0


FOUR = """
    runner: {executor: workers, on_error: continue OPTIONS}
    flow:
      - {name: one, source: {type: process, command: [echo, one]}}
      - {name: two, source: {type: process, command: [echo, two]}}
      - {name: three, depends_on: one, source: {type: process, command: [echo, three]}}
      - {name: four, depends_on: three, source: {type: process, command: [echo, four]}}
"""


def test_a_worker_with_other_files_leaves_steps_to_others_and_says_so(
    here: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    wrong = here.start("-c", "4", FLOWTOY_FILES=str(tmp_path))
    right = here.start("-c", "1")
    done = run_flow(write(FOUR.replace("OPTIONS", "")))
    assert done.success, [step.error for step in done.status.steps.values()]
    assert right.log.count("takes step") == 4
    reason = (f"whose machine has other files (FLOWTOY_FILES): the folder {here.files} there, "
              f"the folder {tmp_path} here")
    # It looks each 10 seconds.
    with_step = write(BUSY.replace("MARK", "/dev/null"))
    run = threading.Thread(target=run_flow, args=[with_executor(load_flow(with_step), "workers")])
    run.start()
    wrong.wait_for(reason)
    run.join()
    assert "takes step" not in wrong.log
    assert wrong.log.count("takes no steps of run ") == 1
    assert (wrong.end(), right.end()) == (0, 0)


def test_a_run_names_the_worker_that_has_other_files_where_there_is_no_other_one(
    here: Any, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(pool, "TELL_AFTER", 1.0)
    tmp_path.chmod(0o700)
    wrong = here.start(FLOWTOY_FILES=str(tmp_path))
    done = run_flow(write(FOUR.replace("OPTIONS", ", timeout: 6s")))
    why = (f"none on queue 'default' can take it: the worker on {socket.gethostname()} has other "
           f"files (FLOWTOY_FILES): the folder {tmp_path} there, the folder {here.files} here")
    error = done.status.steps["one"].error
    assert error == f"{pool.NOT_TAKEN}: {why}"
    assert f"step 'one' waits for a worker: {why}" in caplog.messages
    assert wrong.end() == 0


def test_a_run_names_the_worker_that_takes_messages_of_another_version(
    here: Any, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "TELL_AFTER", 1.0)
    for module in (site, message):
        monkeypatch.setattr(module, "MESSAGES", 2)
    worker = here.start()
    done = run_flow(write(FOUR.replace("OPTIONS", ", timeout: 12s")))
    error = done.status.steps["one"].error or ""
    assert f"the worker on {socket.gethostname()} has messages of version 1 (" in error
    worker.wait_for("takes no steps of run ")
    assert "whose machine has messages of version 2 (" in worker.log
    # What comes all the same, it does not keep to itself.
    with contextlib.closing(Database(here.address, 0)) as database:
        with monkeypatch.context() as before:
            before.setattr(site, "MESSAGES", 1)
            route = site.Site.of_here(here.folder / "carrier").route
        PostgresQueue(database, route).submit(message.Message("f3a1" * 8, 1), "default")
    worker.wait_for("drops a message of version 2, which another version of flowtoy has sent")
    assert worker.end() == 0
