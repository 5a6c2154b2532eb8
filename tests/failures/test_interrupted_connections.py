"""Interrupts while a connection to the history is being closed, and while the process ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

INTERRUPTED_AS_IT_CLOSES = """
import os, signal, sys
from sqlalchemy.engine.default import DefaultDialect

count, close = int(sys.argv.pop(1)), DefaultDialect.do_close


def interrupt_then_close(self, connection):
    global count
    count -= 1
    if not count:
        os.kill(os.getpid(), signal.SIGINT)
    close(self, connection)


DefaultDialect.do_close = interrupt_then_close
from flowtoy_dagster.cli import command
command()
"""

FLOW = "{flow: [{name: a, source: env}]}"


def run(count: int, path: Path) -> subprocess.CompletedProcess[str]:
    """Run a flow; Ctrl-C comes as a connection is closed, the first, the second..."""
    code = [sys.executable, "-c", INTERRUPTED_AS_IT_CLOSES, str(count), "run", path]
    return subprocess.run(code, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("count", [1, 8])
def test_an_interrupt_as_a_home_is_made_has_no_traceback(
    count: int, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # cli: no traceback for what a user can cause. The library logs one, and raises all the same.
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "new"))
    done = run(count, write(FLOW, "flow.yaml"))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_an_interrupt_after_the_runs_end_leaves_its_outputs_whole(
    write: Callable[..., Path]
) -> None:
    path = write(FLOW, "flow.yaml")
    run(1000, path)  # the home is made, and known to be
    done = run(1, path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == '{\n  "a": {}\n}\n'
    assert "the run has ended before Ctrl-C came" in done.stderr
    assert "succeeded: 1 succeeded" in done.stderr


def test_an_interrupt_while_the_process_ends_has_no_traceback(write: Callable[..., Path]) -> None:
    code = f"""
import os, signal, sys, threading
threading.Thread(target=threading.Event().wait).start()  # Python waits for it
enumerate = threading.enumerate
def enumerate_then_interrupt():
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
    return enumerate()
threading.enumerate = enumerate_then_interrupt
from flowtoy_dagster.cli import command
sys.argv[1:] = ["validate", {str(write(FLOW, "flow.yaml"))!r}]
command()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
