"""Steps that run after failures, or in any case: after a halt, a timeout, a cancel."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.executors.scheduling import own_process
from flowtoy_dagster.errors import RunInterrupted
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry

# Dagster calls the class of a failed check deprecated, also when an event is unpickled.
pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")

FAILS = {"type": "process", "command": ["false"]}
TOLD = {"type": "process", "command": [
    "echo", "{{ run.failed }} {{ run.state }} {{ steps.far.state | default('-') }}"]}
TEXT = [{"name": "text", "value": "stdout"}]


def halting(executor: str) -> dict[str, Any]:
    """A run that halts, with steps that run all the same and others."""
    return {
        "runner": {"executor": executor},
        "flow": [
            {"name": "first", "source": "env"},
            {"name": "bad", "source": FAILS, "depends_on": "first"},
            {"name": "halts", "source": "env", "depends_on": "bad"},
            {"name": "far", "source": "env", "depends_on": "halts"},
            {"name": "told", "run_if": "failure", "depends_on": "far", "source": TOLD,
             "output": TEXT},
            {"name": "not told", "run_if": "failure", "depends_on": "first", "source": "env"},
            {"name": "cleans", "run_if": "always", "depends_on": ["halts", "first"],
             "source": FAILS},
            {"name": "told last", "run_if": "failure", "source": "env", "depends_on": "cleans"},
            {"name": "last", "run_if": "always", "source": "env"},
            {"name": "after last", "source": "env", "depends_on": "last"},
        ],
    }


# language 19.3
@pytest.mark.parametrize("executor", ["in_process", "warm", "multiprocess"])
@pytest.mark.timeout(600)
def test_closing_steps_run_when_the_run_halts(
    executor: str, run_on: Callable[..., Any]
) -> None:
    run = run_on(halting(executor), 1)
    assert {name: step.state for name, step in run.status.steps.items()} == {
        "first": "succeeded", "bad": "failed", "halts": "skipped", "far": "skipped",
        "told": "succeeded", "not told": "skipped", "cleans": "failed",
        "told last": "succeeded", "last": "succeeded", "after last": "skipped",
    }
    failed, state, far = run.outputs["told"]["text"].split(" ")
    assert (set(json.loads(failed)) - {"cleans"}, state, far) == ({"bad"}, "failed", "skipped\n")
    assert run.status.steps["not told"].error == "no step that it depends on has failed"
    assert run.status.state == "failed"


def test_a_closing_step_that_fails_fails_no_run() -> None:
    run = run_flow({
        "runner": {"executor": "in_process"},
        "flow": [
            {"name": "work", "source": "env"},
            {"name": "cleans", "run_if": "always", "source": FAILS, "on_error": "fail"},
            {"name": "told", "run_if": "failure", "depends_on": "work", "source": "env"},
        ],
    })
    assert (run.success, run.status.verdict) == (True, "finished with failures")
    with History() as history:
        plan = plan_retry(history, history.find(run.run_id))
        assert list(plan.reasons) == ["cleans"]


def test_a_retry_closes_again(tmp_path: Path) -> None:
    here = {"type": "process", "command": ["sh", "-c", "[ -e ok ]"], "cwd": str(tmp_path)}
    run = run_flow({
        "runner": {"executor": "in_process"},
        "flow": [
            {"name": "other", "source": "env"},
            {"name": "bad", "source": here},
            {"name": "cleans", "run_if": "always", "depends_on": "bad", "source": "env"},
            {"name": "keeps", "run_if": "always", "depends_on": "other", "source": "env"},
        ],
    })
    with History() as history:
        plan = plan_retry(history, history.find(run.run_id))
    assert list(plan.reasons) == ["bad", "cleans"]
    assert plan.reasons["cleans"] == "it runs after 'bad', which runs again"


def long_flow(folder: Path, executor: str, **runner: Any) -> dict[str, Any]:
    """A step that goes on, one that cleans up after it, and others."""
    def script(text: str, *arguments: str) -> dict[str, Any]:
        return {"type": "process", "command": ["sh", "-c", text, "-", *arguments],
                "cwd": str(folder)}

    return {
        "runner": {"executor": executor, **runner},
        "flow": [
            {"name": "long", "source": script("touch running; exec sleep 600")},
            {"name": "after", "source": script("touch never"), "depends_on": "long"},
            {"name": "cleans", "run_if": "always", "depends_on": "long",
             "source": script('echo "$1" > cleaned', "{{ run.state }}")},
            {"name": "last", "run_if": "always", "source": script(
                "touch closing; until [ -e go ]; do sleep 0.05; done; touch closed")},
            {"name": "told", "run_if": "failure", "depends_on": "long",
             "source": script("touch told")},
        ],
    }


ENDS = [("warm", "ctrl-c"), ("warm", "cancel"), ("in_process", "ctrl-c"),
        ("multiprocess", "ctrl-c")]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("executor", "how"), ENDS)
def test_always_steps_run_when_the_run_is_cancelled(
    executor: str, how: str, begin: Callable[..., Any], wait_until: Callable[..., None],
    write: Callable[..., Path], tmp_path: Path, flowtoy: Callable[..., Any],
    show_last: Callable[[], Any],
) -> None:
    # runtime 9
    flow = write(json.dumps(long_flow(tmp_path, executor)), "long.yaml")
    (tmp_path / "go").touch()
    running = begin("run", flow)
    wait_until((tmp_path / "running").exists, "the step runs")
    if how == "cancel":
        assert flowtoy("cancel", "last").code == 0
    else:
        running.send(signal.SIGINT)
    assert running.end() == 130
    assert (tmp_path / "cleaned").read_text() == "cancelled\n"
    assert (tmp_path / "closed").exists()
    assert not (tmp_path / "never").exists()
    assert not (tmp_path / "told").exists()
    shown = show_last()
    assert shown["state"] == "cancelled"
    assert {name: step["state"] for name, step in shown["steps"].items()} == {
        "long": "failed", "after": "skipped", "cleans": "succeeded", "last": "succeeded",
        "told": "skipped",
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["again", "grace"])
def test_closing_steps_end_by_a_second_interrupt_and_when_the_grace_is_over(
    how: str, begin: Callable[..., Any], wait_until: Callable[..., None],
    write: Callable[..., Path], tmp_path: Path, show_last: Callable[[], Any],
) -> None:
    grace = "600s" if how == "again" else "8s"
    flow = write(json.dumps(long_flow(tmp_path, "warm", grace=grace)), "long.yaml")
    running = begin("run", flow)
    wait_until((tmp_path / "running").exists, "the step runs")
    running.send(signal.SIGINT)
    wait_until((tmp_path / "closing").exists, "the closing step runs")
    if how == "again":
        running.send(signal.SIGINT)
    assert running.end() == 130
    assert not (tmp_path / "closed").exists()
    assert show_last()["state"] == "cancelled"
    wait_until(lambda: not running.processes(), "no process of the run is left")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["once", "again", "grace"])
def test_an_always_step_that_runs_outlives_the_first_interrupt(
    how: str, begin: Callable[..., Any], wait_until: Callable[..., None],
    write: Callable[..., Path], tmp_path: Path, show_last: Callable[[], Any],
) -> None:
    # language 19.3
    written = long_flow(tmp_path, "multiprocess", grace="3s" if how == "grace" else "600s")
    long, last = written["flow"][0], written["flow"][3]
    # It runs beside the long one: what it waits for has ended.
    written["flow"] = [{"name": "first", "source": "env"}, {**last, "depends_on": "first"}, long]
    running = begin("run", write(json.dumps(written), "long.yaml"))
    wait_until(
        lambda: (tmp_path / "running").exists() and (tmp_path / "closing").exists(), "both run"
    )
    # To all processes of the group, as a terminal sends it.
    os.killpg(running.process.pid, signal.SIGINT)
    if how != "grace":
        wait_until(lambda: "failed" in running.stderr, "the long one ends")
    if how == "once":
        (tmp_path / "go").touch()
    elif how == "again":
        os.killpg(running.process.pid, signal.SIGINT)
    assert running.end() == 130
    assert (tmp_path / "closed").exists() == (how == "once")
    shown = show_last()
    assert shown["state"] == "cancelled"
    assert {name: step["state"] for name, step in shown["steps"].items()} == {
        "first": "succeeded", "last": "succeeded" if how == "once" else "failed",
        "long": "failed",
    }
    wait_until(lambda: not running.processes(), "no process of the run is left")


@pytest.mark.timeout(600)
def test_closing_steps_run_when_the_time_of_the_run_is_over(
    flowtoy: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    written = long_flow(tmp_path, "warm", timeout="6s", grace="300s")
    (tmp_path / "go").touch()
    done = flowtoy("run", write(json.dumps(written), "long.yaml"))
    assert done.code == 1, done.stderr
    assert (tmp_path / "running").exists()
    assert (tmp_path / "cleaned").read_text() == "failed\n"
    assert (tmp_path / "closed").exists()
    assert (tmp_path / "told").exists()
    assert not (tmp_path / "never").exists()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["once", "again", "grace"])
def test_an_always_step_in_the_runs_own_process_outlives_the_first_interrupt(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # language 19.3
    written = long_flow(tmp_path, "in_process", grace="1s" if how == "grace" else "600s")
    long, last = written["flow"][0], written["flow"][3]
    later = {"name": "later", "run_if": "always", "source": "env"}
    written["flow"] = [{"name": "first", "source": "env"}, {**last, "depends_on": "first"},
                       {**long, "depends_on": "last"}, {**later, "depends_on": "last"}]
    ended, heard = threading.Event(), threading.Event()

    def interrupt() -> None:
        while not (tmp_path / "closing").exists():
            if ended.wait(0.02):
                return
        for _ in range(2 if how == "again" else 1):
            os.kill(os.getpid(), signal.SIGINT)
            heard.wait(60)
        if how == "once":
            (tmp_path / "go").touch()

    before = own_process.Interrupts.begin_end

    def begin_end(interrupts: own_process.Interrupts) -> bool:
        heard.set()
        return before(interrupts)

    monkeypatch.setattr(own_process.Interrupts, "begin_end", begin_end)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(RunInterrupted) as told:
            run_flow(written)
    finally:
        ended.set()
        thread.join()
    status = told.value.run.status
    goes_on = "succeeded" if how == "once" else "failed"
    assert {name: step.state for name, step in status.steps.items()} == {
        "first": "succeeded", "last": goes_on, "long": "skipped",
        "later": "succeeded" if how == "once" else "skipped",
    }, [step.error for step in status.steps.values()]
    assert status.state == "cancelled"
    assert (tmp_path / "closed").exists() == (how == "once")
    assert not (tmp_path / "running").exists()
    lines = [each.cmdline() for each in psutil.Process().children()]
    assert not [line for line in lines if "closing" in " ".join(line)]


def test_an_interrupt_between_two_steps_leaves_the_always_steps(tmp_path: Path) -> None:
    def interrupt(change: Any) -> None:
        if change.step.name == "first" and change.step.state == "succeeded":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(RunInterrupted) as told:
        run_flow({
            "runner": {"executor": "in_process"},
            "flow": [
                {"name": "first", "source": "env"},
                {"name": "cleans", "source": "env", "run_if": "always", "depends_on": "first"},
                {"name": "after", "source": "env", "depends_on": "first"},
            ],
        }, on_change=interrupt)
    steps = told.value.run.status.steps
    assert {name: step.state for name, step in steps.items()} == {
        "first": "succeeded", "cleans": "succeeded", "after": "skipped",
    }
