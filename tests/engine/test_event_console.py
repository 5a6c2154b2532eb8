"""Dagster's console of a run's events, where something else than `flowtoy run` runs a flow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from flowtoy_dagster.engine.executors.warm import preload  # as a run does, first of all
from flowtoy_dagster import build_job, load_flow
job = build_job(load_flow({"name": "shop", "flow": [{"name": "a", "source": "env"}]}))
loggers = {"loggers": {"console": {"config": {"log_level": sys.argv[1]}}}} if sys.argv[1:] else {}
result = job.execute_in_process(run_config=loggers, raise_on_error=False)
print(result.success, "coloredlogs" in sys.modules)
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Execute a flow's job in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        capture_output=True, text=True, check=False, cwd=folder,
    )


@pytest.mark.parametrize("arguments", [[], ["INFO"], ["debug"], ["info"]])
def test_events_are_shown_on_the_console_of_a_job(tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path, *arguments)
    shows_them = (arguments or ["debug"])[0] == "debug"  # Dagster's level of its events
    assert done.stdout == f"True {shows_them}\n", done.stderr
    shown = done.stderr.splitlines()
    assert any("dagster - DEBUG - shop" in line for line in shown) == shows_them, shown


def test_a_console_that_shows_nothing_is_not_made(tmp_path: Path) -> None:
    done = run(tmp_path, "CRITICAL")
    assert (done.stdout, done.stderr) == ("True False\n", "")


def test_a_level_that_is_none_fails_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, "loud")
    assert done.returncode, done.stdout
    assert "LOUD" in done.stderr
