"""What steps print, in files, without helper processes (runtime 12)."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowtoy_dagster.engine.storage.logs.compute_logs import DirectComputeLogManager

# Runs in a Python of its own: what is redirected are the descriptors of a whole process.
CAPTURE = """
import os, subprocess, sys, time
from flowtoy_dagster.engine.storage.logs.compute_logs import DirectComputeLogManager
manager = DirectComputeLogManager(sys.argv[1])
def children():
    return open(f"/proc/self/task/{os.getpid()}/children").read().split()
print("before")
"""


def capture(folder: Path, body: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run a program with `manager` and `children()`; gives it and the folder of its log files."""
    done = subprocess.run(
        [sys.executable, "-c", CAPTURE + body, str(folder)], capture_output=True, text=True,
        timeout=200,
    )
    return done, folder / "run" / "compute_logs"


def test_all_that_a_step_prints_is_in_the_files_and_nowhere_else(tmp_path: Path) -> None:
    done, logs = capture(
        tmp_path,
        """
with manager.capture_logs(["run", "compute_logs", "step"]):
    print("printed")
    print("to stderr", file=sys.stderr)
    sys.stdout.flush()
    os.write(1, b"written\\n")
    os.write(2, b"written to stderr\\n")
    subprocess.run(["sh", "-c", "echo of a child; echo of a child on stderr >&2"])
print("after")
""",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "before\nafter\n"
    assert done.stderr == ""
    assert (logs / "step.out").read_text() == "printed\nwritten\nof a child\n"
    assert (logs / "step.err").read_text() == "to stderr\nwritten to stderr\nof a child on stderr\n"


def test_there_are_no_helper_processes(tmp_path: Path) -> None:
    done, _ = capture(
        tmp_path,
        """
with manager.capture_logs(["run", "compute_logs", "step"]):
    found = children()
assert found == [], found
""",
    )
    assert done.returncode == 0, done.stderr


def test_a_step_that_fails_leaves_its_files_and_gets_its_streams_back(tmp_path: Path) -> None:
    done, logs = capture(
        tmp_path,
        """
try:
    with manager.capture_logs(["run", "compute_logs", "step"]):
        print("the last words")
        raise ValueError
except ValueError:
    print("after")
""",
    )
    assert done.stdout == "before\nafter\n"
    assert (logs / "step.out").read_text() == "the last words\n"


def test_captures_may_be_nested_and_follow_each_other(tmp_path: Path) -> None:
    done, logs = capture(
        tmp_path,
        """
open_before = len(os.listdir("/proc/self/fd"))
for name in ("first", "second"):
    with manager.capture_logs(["run", "compute_logs", name]):
        print(name, "begins")
        with manager.capture_logs(["run", "compute_logs", f"{name}-inner"]):
            print("inside", name)
        print(name, "ends")
assert len(os.listdir("/proc/self/fd")) == open_before
""",
    )
    assert done.returncode == 0, done.stderr
    for name in ("first", "second"):
        assert (logs / f"{name}.out").read_text() == f"{name} begins\n{name} ends\n"
        assert (logs / f"{name}-inner.out").read_text() == f"inside {name}\n"


def test_a_second_attempt_is_added_to_the_first(tmp_path: Path) -> None:
    done, logs = capture(
        tmp_path,
        """
for attempt in (1, 2):
    with manager.capture_logs(["run", "compute_logs", "step"]):
        print("attempt", attempt)
""",
    )
    assert done.returncode == 0, done.stderr
    assert (logs / "step.out").read_text() == "attempt 1\nattempt 2\n"


def test_the_end_of_a_capture_can_be_seen(tmp_path: Path) -> None:
    key = ["run", "compute_logs", "step"]
    done, logs = capture(
        tmp_path,
        """
key = ["run", "compute_logs", "step"]
assert not manager.is_capture_complete(key)
with manager.capture_logs(key):
    assert not manager.is_capture_complete(key)
    print("live", flush=True)
    end = time.monotonic() + 90
    while manager.get_log_data(key).stdout != b"live\\n":
        assert time.monotonic() < end, manager.get_log_data(key)
        time.sleep(0.01)
assert manager.is_capture_complete(key)
""",
    )
    assert done.returncode == 0, done.stderr
    manager = DirectComputeLogManager(str(tmp_path))
    assert manager.is_capture_complete(key)
    data = manager.get_log_data(key)
    assert (data.stdout, data.stderr) == (b"live\n", b"")
    manager.delete_logs(key)
    assert list(logs.iterdir()) == []


def test_secrets_that_the_step_knows_are_hidden(tmp_path: Path) -> None:
    # language 13.2
    done, logs = capture(
        tmp_path,
        """
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.steps.state.mask import StepMask
with manager.capture_logs(["run", "compute_logs", "step"]):
    manager.mask_with(StepMask(Mask(["sesame-open"])))
    os.write(1, b"it is ses")
    os.write(1, b"ame-open, and ")
    os.write(2, b"sesame-")
    print("c2VzYW1lLW9wZW4=")
""",
    )
    assert done.returncode == 0, done.stderr
    assert (logs / "step.out").read_text() == "it is ***, and ***\n"
    assert (logs / "step.err").read_text() == "sesame-"


def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    # language 13.3
    done, logs = capture(
        tmp_path,
        """
os.umask(0)
with manager.capture_logs(["run", "compute_logs", "step"]):
    print("hello")
""",
    )
    assert done.returncode == 0, done.stderr
    for name in ("step.out", "step.err"):
        assert stat.S_IMODE((logs / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("executor", ["stock", "warm"])
def test_the_steps_of_a_run_are_captured_one_by_one(
    executor: str, execute: Callable[..., Any], instance: dg.DagsterInstance
) -> None:
    outcome = execute("printing", executor)
    assert outcome.status == "SUCCESS"
    assert isinstance(instance.compute_log_manager, DirectComputeLogManager)
    run_id = outcome.entries[0].run_id
    texts = {}
    for event in outcome.events:
        if event.event_type_value == "LOGS_CAPTURED":
            data = event.logs_captured_data
            (key,) = data.step_keys or [""]
            log = instance.compute_log_manager.get_log_data([run_id, "compute_logs", data.file_key])
            texts[key] = (log.stdout, log.stderr)
    assert texts == {
        "first": (b"first speaks\nof a child\n", b""),
        "second": (b"second speaks\nof a child\n", b""),
    }
    assert os.listdir(Path(instance.storage_directory()) / run_id / "compute_logs")


@pytest.mark.parametrize("keep", ["", "manager.keep_pump()\n"], ids=["alone", "kept"])
def test_each_step_has_what_it_printed_itself_while_it_ran(tmp_path: Path, keep: str) -> None:
    done, logs = capture(
        tmp_path,
        keep + """
def seen(step):
    path = f"{sys.argv[1]}/run/compute_logs/{step}.out"
    while not os.path.getsize(path):
        time.sleep(0.01)
for step in ("a", "b", "c"):
    with manager.capture_logs(["run", "compute_logs", step]):
        os.write(1, step.encode() * 300_000)
        seen(step)
        os.write(1, b"end of " + step.encode())
import threading
assert threading.active_count() == 1 + KEPT
""".replace("KEPT", str(int(bool(keep)))),
    )
    assert done.returncode == 0, done.stderr
    for step in "abc":
        assert (logs / f"{step}.out").read_text() == step * 300_000 + f"end of {step}"


def test_a_child_that_prints_without_end_does_not_hold_up_the_step(tmp_path: Path) -> None:
    done, logs = capture(
        tmp_path,
        """
manager.keep_pump()
with manager.capture_logs(["run", "compute_logs", "step"]):
    left = subprocess.Popen(["yes"], stderr=subprocess.DEVNULL)
    time.sleep(0.2)
with manager.capture_logs(["run", "compute_logs", "next"]):
    print("mine")
left.kill()
""",
    )
    assert done.returncode == 0, done.stderr
    assert (logs / "next.out").read_text() == "mine\n"
    assert (logs / "step.out").stat().st_size > 0
