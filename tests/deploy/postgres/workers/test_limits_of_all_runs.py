"""Limits that hold over all runs hold over the workers of all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.cli.pools import set_pool

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")


def run_at_once(here: Any, *flows: Path) -> list[str]:
    """Run flows, each by a command on a machine of its own; gives what they say."""
    command = [sys.executable, "-m", "flowtoy_dagster", "run"]
    runs = [
        subprocess.Popen(
            [*command, str(flow)], stderr=subprocess.PIPE, text=True,
            env={**os.environ, **here.environment(f"carrier of {flow.stem}")},
        )
        for flow in flows
    ]
    return [run.communicate(timeout=here.patience)[1] for run in runs]


def test_a_pool_holds_over_two_runs_and_two_workers(
    here: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    # language 17.3
    place = tmp_path / "place"
    # Two that meet would make one folder: one of them fails.
    script = f"mkdir {place} || exit 9; sleep 0.3; rmdir {place}"

    def flow(name: str) -> Path:
        steps = "".join(f"""
              - {{name: {name} {number}, pool: gate, source: {{type: process,
                 command: [sh, -c, "{script}"]}}}}""" for number in range(2))
        return write(f"""
            flow:{steps}
            runner: {{executor: workers, executor_options: {{queue: {name}}}, on_error: continue}}
        """, f"{name}.yaml")

    set_pool("gate", 1)
    # A queue of its own for each: from one queue, a quick worker may take all the steps.
    workers = [here.start("--queue", name, "-c", "2") for name in ("one", "two")]
    said = run_at_once(here, flow("one"), flow("two"))
    for text in said:
        assert "2 succeeded" in text, text
    for worker in workers:
        assert worker.end() == 0
        assert "takes step" in worker.log
    assert here.sql("SELECT count(*) FROM concurrency_slots WHERE run_id IS NOT NULL") == "0"


def test_a_rate_holds_over_two_runs_and_the_items_and_steps_of_two_workers(
    here: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    # language 19.5: of the 16 calls that are wanted, a day has room for 5.
    calls = tmp_path / "calls"

    def flow(name: str) -> Path:
        return write(f"""
            sources:
              api: {{type: process, rate: [5/d, 50/s], command: [sh, -c, "echo $PPID >> {calls}"]}}
            flow:
              - {{name: one, source: api}}
              - {{name: two, source: api}}
              - {{name: each, source: api, for_each: [1, 2, 3, 4, 5, 6]}}
            runner: {{executor: workers, executor_options: {{queue: rates}}, on_error: continue,
              timeout: 6s}}
        """, f"{name}.yaml")

    workers = [here.start("--queue", "rates", "-c", "2") for _ in range(2)]
    said = run_at_once(here, flow("three"), flow("four"))
    assert len(calls.read_text().splitlines()) == 5, said
    for worker in workers:
        assert worker.end() == 0
        assert "takes step" in worker.log
