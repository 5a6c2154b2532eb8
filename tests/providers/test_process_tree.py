"""All that a command has started ends with it, in whatever group or session it is."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.executors.warm.pool import StepLost
from flowtoy_dagster.engine.executors.warm.process_reset import Isolation
from flowtoy_dagster.providers.process.provider import ProcessProvider
from flowtoy_dagster.providers.subprocesses import run_command, signal_name


def left(*numbers: str) -> list[list[str]]:
    """The `sleep` commands of those lengths that still run."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if alive and line[:1] == ["sleep"] and line[1] in numbers:
            found.append(line)
    return found


@pytest.mark.parametrize(
    "start",
    ["timeout 1000 sleep {n}", "setsid sleep {n}", "sh -mc 'sleep {n} & wait'",
     "trap '' TERM; sleep {n}"],
    ids=["a group of its own", "a session of its own", "job control", "ignores TERM"],
)
def test_a_timeout_ends_all_that_a_command_has_started(
    start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowtoy_dagster.providers.subprocesses.KILL_AFTER", 0.5)
    number = str(time.time_ns() % 10**9 + 10**6)
    script = f"{start.format(n=number)} & wait; echo end"
    done = run_command(["sh", "-c", script], timeout=0.5, max_output_bytes=1000)
    assert done.ended_because == "timed out after 0.5 s"
    assert left(number) == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux has subreapers")
def test_a_worker_ends_a_daemon_that_has_left_its_command_altogether(made_home: Path) -> None:
    """It has no ancestor in the command, and no session of it; but the worker adopts it."""
    numbers = [str(time.time_ns() % 10**9 + 10**6 + n) for n in range(3)]
    script = (
        f"(setsid sleep {numbers[0]} &); timeout 1000 sleep {numbers[1]} & sleep {numbers[2]}"
    )
    step = {"name": "a", "source": "process", "input": {"command": ["sh", "-c", script]}}
    run = run_flow({"flow": [{**step, "timeout": 1}]})
    assert run.status.steps["a"].error == "timed out after 1 s"
    assert left(*numbers) == []


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGKILL, "signal 9 (SIGKILL)"),
        (signal.SIGRTMIN, f"signal {int(signal.SIGRTMIN)} (SIGRTMIN)"),
        (signal.SIGRTMIN + 6, f"signal {signal.SIGRTMIN + 6} (SIGRTMIN+6)"),
        (signal.SIGRTMAX, f"signal {int(signal.SIGRTMAX)} (SIGRTMAX)"),
        (33, "signal 33"),
    ],
)
def test_every_signal_has_a_name(number: int, name: str) -> None:
    assert signal_name(number) == name
    assert f"was killed by {name}" in StepLost("a", 7, -number).reason


def why_not(program: str | Path, **more: Any) -> str:
    result = ProcessProvider({"command": [str(program)], **more}).call()
    note: str = result["status"]["notes"][0]
    return note


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("#!/bin/sh\r\necho\r\n",
         "bad interpreter: '/bin/sh\\r' not found (the file has Windows line ends)"),
        ("#! /no/such/python -u\n", "bad interpreter: '/no/such/python' not found"),
        ("#!/no/such/sh\t-x\n", "bad interpreter: '/no/such/sh' not found"),
        ("#!/tmp\n", "bad interpreter: '/tmp' can't be executed"),
        ("echo one\n", "its first line is not '#!' and an interpreter, such as '#!/bin/sh'"),
        ("\ufeff#!/bin/sh\necho\n",
         "there is a byte order mark before '#!' (save it as UTF-8 without one)"),
        ("", "the file is empty"),
        ("\x7fELF\x02\0\0other machine", "it is no program for this machine"),
    ],
    ids=["Windows line ends", "not installed", "a tab", "a folder", "no '#!'", "a byte order mark",
         "empty", "of another machine"],
)
def test_a_script_whose_interpreter_does_not_exist_says_so(
    text: str, reason: str, tmp_path: Path
) -> None:
    script = tmp_path / "report.sh"
    script.write_bytes(text.encode())
    script.chmod(0o755)
    assert why_not(script) == f"'{script}' can't be executed: {reason}"
    assert why_not("./report.sh", cwd=str(tmp_path)).endswith(reason)
    assert why_not("./other.sh", cwd=str(tmp_path)) == "command not found: './other.sh'"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ([""], "the name of the program is empty"),
        (["/tmp"], "'/tmp' can't be executed: it is a folder"),
    ],
    ids=["no name", "a folder"],
)
def test_what_is_no_command_says_so(command: list[str], reason: str) -> None:
    note: str = ProcessProvider({"command": command}).call()["status"]["notes"][0]
    assert note == reason


def test_a_folder_that_a_provider_removes_is_left_for_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Isolation(dict(os.environ), str(tmp_path)):
        (tmp_path / "gone").mkdir()
        os.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
    assert Path.cwd() == tmp_path
