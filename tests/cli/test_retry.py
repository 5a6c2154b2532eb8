"""`flowtoy retry`: the plan that it prints, what it takes, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# runtime 11

FLOW = """
    flow:
      - name: first
        source: process
        input: {command: [sh, -c, "echo x >> first; echo one"]}
        output: [{name: text, value: stdout}]
      - name: second
        source: process
        input: {command: [sh, -c, "cat good >/dev/null && echo x >> second && echo $1", "-",
                          "{{ flows.first.text }} two"]}
        output: [{name: text, value: stdout}]
      - name: third
        source: process
        input: {command: [echo, "{{ flows.second.text }} three"]}
        output: [{name: text, value: stdout}]
    """


@pytest.fixture
def failed(flowtoy: Callable[..., Any], write: Callable[..., Path]) -> Path:
    """A flow that has failed in its second step."""
    path = write(FLOW)
    assert flowtoy("run", path, "-q").code == 1
    return path


def test_the_plan_is_told_before_anything_runs(
    flowtoy: Callable[..., Any], failed: Path, tmp_path: Path
) -> None:
    (tmp_path / "good").touch()
    done = flowtoy("retry", "last", "-j", "-o", "out.json")
    assert done.code == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == "first   reused  it succeeded before"
    assert lines[1].startswith("second  runs    it failed: sh exited with code 1: cat:")
    assert lines[2] == "third   runs    it was skipped: 'second' failed"
    assert "second  running" in lines[3]
    assert lines[-1].startswith("succeeded: 3 succeeded in ")
    assert done.json == {
        "first": {"text": "one\n"}, "second": {"text": "one two\n"},
        "third": {"text": "one two\n three\n"},
    }
    assert json.loads((tmp_path / "out.json").read_text()) == done.json
    assert (tmp_path / "first").read_text() == "x\n"
    # A retry is a run like others: listed, shown, and with outputs of all steps.
    listed = flowtoy("runs", "--json").json
    assert [run["state"] for run in listed] == ["succeeded", "failed"]
    assert listed[0]["retry_of"] == listed[1]["run_id"]
    assert f"retry of {listed[1]['run_id'][:8]}" in flowtoy("runs").stdout
    shown = flowtoy("runs", "show", "last").stdout
    assert f"retry of {listed[1]['run_id']}" in shown
    assert "succeeded (reused)" in shown
    assert flowtoy("runs", "outputs", "last", "-j").json == done.json


def test_a_retry_that_fails_again_exits_with_1(flowtoy: Callable[..., Any], failed: Path) -> None:
    done = flowtoy("retry", "last", "-j")
    assert done.code == 1
    assert done.json == {"first": {"text": "one\n"}, "second": None, "third": None}


def test_nothing_to_retry_is_a_usage_error(
    flowtoy: Callable[..., Any], write: Callable[..., Path]
) -> None:
    assert flowtoy("retry", "last").code == 2
    flowtoy("run", write("flow: [{name: one, source: env}]"), "-q")
    done = flowtoy("retry", "last")
    assert done.code == 2
    assert done.stdout == ""
    assert "succeeded: nothing to retry" in done.stderr
    unknown = flowtoy("retry", "zzz")
    assert unknown.code == 2
    assert "there is no run 'zzz'" in unknown.stderr


def test_a_changed_configuration_is_shown_as_a_difference(
    flowtoy: Callable[..., Any], failed: Path, write: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "good").touch()
    path = write(FLOW.replace("echo one", "echo ONE"), "changed.yaml")
    done = flowtoy("retry", "last", path, "-j")
    assert done.code == 0, done.stderr
    assert done.stderr.splitlines()[0] == "first differs from what ran:"
    assert "    +   - echo x >> first; echo ONE" in done.stderr
    assert "first   runs    " in done.stderr
    assert done.json["third"] == {"text": "ONE two\n three\n"}
    assert (tmp_path / "first").read_text() == "x\nx\n"
    broken = flowtoy("retry", "last", write("flow: []", "broken.yaml"))
    assert broken.code == 2


def test_a_retry_may_start_from_a_step_that_succeeded(
    flowtoy: Callable[..., Any], failed: Path, tmp_path: Path
) -> None:
    (tmp_path / "good").touch()
    assert flowtoy("retry", "last", "-q").code == 0
    done = flowtoy("retry", "last", "--from", "second", "-j")
    assert done.code == 0, done.stderr
    assert "first   reused" in done.stderr
    assert "second  runs    you asked to start from it" in done.stderr
    assert "third   runs    it depends on 'second', which runs again" in done.stderr
    assert (tmp_path / "second").read_text() == "x\nx\n"
    wrong = flowtoy("retry", "last", "--from", "secnd")
    assert wrong.code == 2
    assert "there is no step 'secnd'" in wrong.stderr
    assert "second" in wrong.stderr.splitlines()[-1]
