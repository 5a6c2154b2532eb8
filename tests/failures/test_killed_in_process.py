"""Runs whose steps run in the run's own process, which is killed: no worker ends their commands."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="looks for processes in /proc"
)

COMMANDS = {
    "sleep": "sleep 600",
    "a shell that ignores TERM": "trap '' TERM; sleep 600; sleep 600",
    "a grandchild": "sleep 600 & sleep 600 & wait",
    "a session of its own": "setsid sleep 600 & wait",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_run_leaves_no_command(
    command: str, begin: Callable[..., Any], write: Callable[..., Path],
    wait_until: Callable[..., None], tmp_path: Path, show_last: Callable[[], Any],
) -> None:
    # runtime 10; language 18.10
    script = f'touch "{tmp_path}/running-$1"; {COMMANDS[command]}'
    running = begin("run", write(json.dumps({
        "runner": {"executor": "in_process", "max_workers": 2},
        "flow": [
            {"name": "short", "source": "process", "input": {"command": ["true"]}},
            {"name": "long", "depends_on": "short", "source": "process", "for_each": [1, 2, 3],
             "input": {"command": ["sh", "-c", script, "-", "{{ item }}"]}},
        ],
    })))
    for item in (1, 2):
        wait_until((tmp_path / f"running-{item}").exists, "the items run", 60)
    of_the_run = psutil.Process(running.process.pid).children(recursive=True)
    assert len(of_the_run) >= 2
    running.send(signal.SIGKILL)
    assert running.end() == -signal.SIGKILL
    wait_until(lambda: not running.processes(), "no process of the run is left")
    wait_until(lambda: not [each for each in of_the_run if _lives(each)], "nor what ended them")
    assert not (tmp_path / "running-3").exists()
    assert show_last()["state"] == "failed"


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def test_what_ends_them_has_no_variables_of_the_run_and_ends_with_it(
    begin: Callable[..., Any], write: Callable[..., Path], wait_until: Callable[..., None],
    tmp_path: Path,
) -> None:
    # language 13.2
    running = begin("run", write(json.dumps({
        "runner": {"executor": "in_process"},
        "flow": [{"name": "long", "source": "process",
                  "input": {"command": f"touch '{tmp_path}/running'; "
                                       f"until [ -e '{tmp_path}/go' ]; do sleep 0.05; done"}}],
    })))
    wait_until((tmp_path / "running").exists, "the step runs", 60)

    def others_of() -> list[psutil.Process]:
        own = set(running.processes())
        return [one for one in psutil.Process(running.process.pid).children() if one.pid not in own]

    # It is started when the command has been, and until then has the variables of the run.
    wait_until(lambda: len(others_of()) == 1, "there is one", 60)
    others = others_of()
    assert not set(others[0].environ()) - {"LC_CTYPE"}
    assert str(tmp_path) not in " ".join(others[0].cmdline())
    assert others[0].cwd() == "/"
    assert os.getsid(others[0].pid) == others[0].pid
    (tmp_path / "go").touch()
    assert running.end() == 0, running.stderr
    wait_until(lambda: not _lives(others[0]), "it has ended")
