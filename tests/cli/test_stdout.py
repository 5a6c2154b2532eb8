"""What a command prints to a stdout that can't be written, and signals while it prints."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.cli.shared.execute import _LateSignals
from flowtoy_dagster.cli.shared.printing import OutputWriter
from flowtoy_dagster.cli.shared.streams import StdoutError, printing_to
from flowtoy_dagster.runs.status.models import Change, StepStatus

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")


@needs_full
def test_outputs_that_cannot_be_printed_are_one_clear_error() -> None:
    stdout = printing_to(os.open(FULL, os.O_WRONLY), closefd=True)
    writer = OutputWriter(stdout, as_json=True, quiet=False, file=None)
    with pytest.raises(StdoutError, match="can't write to stdout: no space left on device") as told:
        writer.write(lambda: [("a", None)])
    assert "flowtoy runs outputs" in str(told.value)
    assert told.value.exit_code == 1
    stdout.close()  # what it still holds goes nowhere, and is no second error


@needs_full
def test_whatever_a_command_prints_to_a_full_disk_is_one_clear_error() -> None:
    with FULL.open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "flowtoy_dagster", "--help"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=200,
        )
    assert (done.returncode, done.stderr) == (1, "can't write to stdout: no space left on device\n")


@pytest.mark.parametrize(("number", "name", "alone"), [
    (signal.SIGTERM, "SIGTERM", signal.SIG_DFL),
    (signal.SIGINT, "Ctrl-C", signal.default_int_handler),
])
def test_a_signal_after_a_runs_end_leaves_its_outputs_whole(
    number: int, name: str, alone: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[int] = []
    previous = signal.signal(number, lambda number, _: heard.append(number))
    try:
        with _LateSignals() as late:
            late.after(lambda change: None)(Change(StepStatus("a"), 0.0))
            os.kill(os.getpid(), number)
            assert f"the run has ended before {name} came" in capsys.readouterr().err
            # Another one does not wait.
            assert signal.getsignal(number) == alone
        os.kill(os.getpid(), number)
        assert heard == [number]
    finally:
        signal.signal(number, previous)


def test_ctrl_c_before_a_run_has_begun_interrupts() -> None:
    with _LateSignals(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
