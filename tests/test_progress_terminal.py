"""`flowtoy run` and `flowtoy retry` on a terminal: what a person sees (cli, progress)."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyte
import pytest
from provider_packages import install_provider

DEADLINE = 120.0


class Terminal:
    """A command on a terminal of its own, which it controls."""

    def __init__(self, folder: Path, *arguments: str, columns: int = 100, lines: int = 30,
                 **variables: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        environment = {**os.environ, "TERM": "xterm-256color", "CI": "", **variables}
        # Another process makes the terminal its controlling one: no code may run in a fork here.
        claim = (
            "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
            "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", claim, "-m", "flowtoy_dagster", *arguments],
            stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment,
            start_new_session=True,
        )
        os.close(slave)

    def read(self, patience: float = 1.0) -> bool:
        """Take in what the terminal got; whether there may come more."""
        if not select.select([self.master], [], [], patience)[0]:
            return True
        try:
            data = os.read(self.master, 1 << 16)
        except OSError:  # nobody has the other side open
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def until(self, pattern: str) -> str:
        """Wait until the screen matches; gives it."""
        end = time.monotonic() + DEADLINE
        while not re.search(pattern, self.shown):
            assert self.read(), self.shown
            assert time.monotonic() < end, self.shown
        return self.shown

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)

    def finish(self) -> int:
        """Wait for the command's end; gives its exit code."""
        end = time.monotonic() + DEADLINE
        while self.read():
            assert time.monotonic() < end, self.shown
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait(DEADLINE)
        os.close(self.master)

    @property
    def shown(self) -> str:
        """What is and was on the screen, without what was drawn over."""
        columns = range(self.screen.columns)
        gone = ["".join(line[x].data for x in columns) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*gone, *self.screen.display]).rstrip()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts commands on terminals."""
    made: list[Terminal] = []

    def start(*arguments: str, **options: Any) -> Terminal:
        made.append(Terminal(tmp_path, *arguments, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


# Its first step goes on until a file is there, so that there is something to see.
FLOW = """
flow:
  - name: held
    source: process
    input: {command: [sh, -c, "until test -e go; do sleep 0.05; done; echo free"]}
    output: [{name: text, value: stdout}]
  - name: bad
    source: process
    input: {command: [sh, -c, "echo no paper >&2; exit 3"]}
    on_error: continue
  - {name: loud, source: loud}
  - {name: last, source: process, depends_on: [held, bad, loud], input: {command: [echo, end]}}
"""
LOUD = """
import logging, os, sys, warnings

class Loud:
    def __init__(self, configuration):
        pass

    def call(self, input_payload=None):
        logging.getLogger("flowtoy.loud").warning("a warning from a worker")
        return {}
"""


@pytest.fixture
def loud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that writes to the log of the worker that calls it."""
    path = install_provider(tmp_path / "site", "loud", "Loud", LOUD)
    monkeypatch.setenv("PYTHONPATH", path)


@pytest.mark.usefixtures("loud")
def test_a_terminal_shows_a_line_for_each_step_and_what_failed_above_them(
    terminal: Callable[..., Terminal], write: Callable[..., Path], tmp_path: Path
) -> None:
    # cli: one live line per step (state, elapsed, attempt), a bar, the count
    shown = terminal("run", str(write(FLOW)))
    before = shown.until(r"2/4  1 running  1 failed")
    assert re.search(r"^. held  running \d+\.\d s$", before, re.MULTILINE), before
    assert "· last  waits for held" in before
    (tmp_path / "go").touch()
    assert shown.finish() == 0, shown.shown
    *told, summary = shown.shown.splitlines()
    # A failure shows the step, what was called, the reason and the last lines of stderr; it and
    # what workers log stand above the lines of the steps.
    failure = next(i for i, line in enumerate(told) if "  bad   failed after " in line)
    assert told[failure + 1 : failure + 5] == [
        "    called: sh (2 arguments)",
        "    reason: sh exited with code 3: no paper",
        "    stderr: no paper",
        "    place:  flow.yaml:7:5",
    ]
    assert "WARNING flowtoy.loud: a warning from a worker" in told[:6]
    rows = [re.sub(r"\d+\.\d s", "1.0 s", line) for line in told[6:10]]
    assert rows == [
        "✓ held  succeeded in 1.0 s", "✗ bad   failed after 1.0 s", "✓ loud  succeeded in 1.0 s",
        "✓ last  succeeded in 1.0 s",
    ]
    # The outputs come when nothing is drawn any more.
    assert told[10:] == [
        "{", '  "held": {', '    "text": "free\\n"', "  },", '  "bad": null,', '  "loud": {},',
        '  "last": {}', "}",
    ]
    told = r"finished with failures: 3 succeeded, 1 failed in \d+\.\d s; flowtoy runs show "
    assert re.match(told, summary)
    assert b"\x1b[32m" in shown.raw
    assert b"\x1b[?25l" not in shown.raw
    # Something is there before all that takes time; what comes next is written over it.
    assert shown.raw.startswith(b"starting ...\r")
    assert "starting" not in shown.shown


def test_an_interrupt_leaves_the_terminal_as_it_was(
    terminal: Callable[..., Terminal], write: Callable[..., Path]
) -> None:
    # runtime 9; cli: NO_COLOR is honoured, and lines are drawn anew all the same
    shown = terminal("run", str(write(
        """
        flow:
          - {name: long, source: process, input: {command: [sleep, "100"]}}
          - {name: after, source: process, depends_on: long, input: {command: [echo, x]}}
        """
    )), NO_COLOR="1")
    shown.until("long   running")
    shown.type(b"\x03")
    assert shown.finish() == 130, shown.shown
    lines = [re.sub(r"\d+\.\d s", "1.0 s", line) for line in shown.shown.splitlines()]
    assert lines[1:3] == ["    reason: interrupted", "    place:  flow.yaml:3:5"]
    assert lines[3] == "✗ long   failed after 1.0 s"
    assert lines[4] == "- after  skipped: the run was interrupted"
    assert lines[-2].startswith("cancelled: 0 succeeded, 1 failed, 1 skipped in 1.0 s; ")
    assert lines[-1].startswith("interrupted: run ")
    assert shown.screen.cursor.x == 0
    assert re.search(rb"\x1b\[\d+A", shown.raw)
    assert not re.search(rb"\x1b\[[\d;]*m|\x1b\[\?", shown.raw)


def test_many_steps_take_no_more_than_the_terminal_has(
    terminal: Callable[..., Terminal], write: Callable[..., Path], tmp_path: Path
) -> None:
    steps = "".join(f"  - {{name: s{number:02}, source: env}}\n" for number in range(59))
    wait = "until test -e go; do sleep 0.05; done"
    held = f"{{name: held, source: process, input: {{command: '{wait}'}}}}"
    shown = terminal("run", str(write(f"flow:\n{steps}  - {held}\n")), lines=12)
    screen = shown.until(r"59/60  1 running").splitlines()
    (tmp_path / "go").touch()
    assert len(screen) == 7
    assert screen[-2].split()[1:3] == ["held", "running"]
    assert shown.finish() == 0
    assert not any("━" in line for line in shown.shown.splitlines())
    assert "60 succeeded in" in shown.shown.splitlines()[-1]


def test_a_retry_shows_what_it_reuses_and_one_line_a_change_on_a_dumb_terminal(
    terminal: Callable[..., Terminal], write: Callable[..., Path], tmp_path: Path
) -> None:
    path = write(
        """
        flow:
          - {name: first, source: process, input: {command: [echo, x]}}
          - {name: second, source: process, depends_on: first, input: {command: [cat, good]}}
        """
    )
    plain = terminal("run", str(path), "-q", TERM="dumb")
    assert plain.finish() == 1, plain.shown
    assert b"\x1b" not in plain.raw
    assert "first   running" in plain.shown
    (tmp_path / "good").touch()
    live = terminal("retry", "last", "-q")
    assert live.finish() == 0, live.shown
    lines = [re.sub(r"\d+\.\d s", "1.0 s", line) for line in live.shown.splitlines()]
    assert lines[0] == "first   reused  it succeeded before"
    assert lines[1].startswith("second  runs    it failed: ")
    assert lines[2:4] == ["✓ first   reused", "✓ second  succeeded in 1.0 s"]
    assert lines[4].startswith("succeeded: 2 succeeded in 1.0 s; ")


def test_an_error_before_the_run_is_told_on_a_terminal_too(
    terminal: Callable[..., Terminal]
) -> None:
    shown = terminal("retry", "nothing")
    assert shown.finish() == 2
    assert shown.shown == "there is no run 'nothing'\n    flowtoy runs lists them"
