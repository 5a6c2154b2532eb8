"""Texts in events: bounded, and code stays code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtoy_dagster.engine.jobs.events.event_text import MOST, bounded, code_block, text_of
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.runs.run import run_flow


def test_of_a_long_text_the_first_and_the_last_are_kept() -> None:
    text = "begin " + "x" * 3_000_000 + " end"
    kept = bounded(text)
    assert len(kept) < MOST + 100
    assert kept.startswith("begin ")
    assert kept.endswith(" end")
    assert f"{len(text) - MOST} characters left out" in kept
    assert bounded("x" * MOST) == "x" * MOST


@pytest.mark.parametrize("text", ["a\n```\n# owned", "````", "``", "", "`\n```text\n`````"])
def test_a_text_with_fences_stays_in_its_block(text: str) -> None:
    block = code_block(text)
    fence = block.split("\n")[0]
    assert fence not in text
    assert block.split("\n")[-1] == fence
    assert text_of(block) == text


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("`~ \nab")))
def test_a_block_gives_its_text_back(text: str) -> None:
    assert text_of(code_block(text)) == text


def test_a_failure_of_megabytes_takes_kilobytes_of_the_database(home: Path) -> None:
    program = "import sys; sys.stderr.write('begin' + 'y' * 3000000 + '\\n```\\nend'); sys.exit(1)"
    steps = [
        {"name": name, "source": "process", "input": {"command": [sys.executable, "-c", program]},
         **more}
        for name, more in {"is tolerated": {"on_error": "continue"},
                           "fails": {"retry": {"max": 1, "delay": 0}}}.items()
    ]
    run = run_flow(load_flow({"flow": steps, "runner": {"executor": "in_process"}}, "big"))
    for step in run.status.steps.values():
        assert step.state == "failed"
        assert step.stderr.startswith("begin")
        assert step.stderr.endswith("\n```\nend")
    assert (home / "history" / "runs" / f"{run.status.run_id}.db").stat().st_size < 600_000
