"""What breaks a step outside of its attempt has a reason, and follows the step's policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.store.records import RecordStore

pytestmark = [
    pytest.mark.usefixtures("made_home"),
    # Dagster calls the class of a failed check deprecated, also when an event is unpickled.
    pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning"),
]


def flow(**step: Any) -> dict[str, Any]:
    """A step whose record can't be kept, and one that follows."""
    fails = {
        "name": "a", "source": {"type": "process", "command": ["echo", "x"]},
        "output": [{"name": "x", "value": "stdout"}], **step,
    }  # fmt: skip
    after = {
        "name": "b", "source": "process", "depends_on": "a",
        "input": {"command": ["echo", "{{ steps.a.state }}"]},
        "output": [{"name": "x", "value": "stdout"}],
    }  # fmt: skip
    return {"runner": {"executor": "in_process"}, "flow": [fails, after]}


@pytest.fixture
def broken_write(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Breaks the first writes of successful records of `a` in a way that nobody foresaw."""

    def arrange(times: int) -> None:
        original, left = RecordStore.write, [times]

        def write(self: Any, run_id: str, key: str, outcome: Any, keep: bool) -> Any:
            if key == "a" and outcome.succeeded and left[0] > 0:
                left[0] -= 1
                raise ZeroDivisionError("unforeseen")
            return original(self, run_id, key, outcome, keep)

        monkeypatch.setattr(RecordStore, "write", write)

    return arrange


# language 9.2
def test_a_record_that_cannot_be_written_is_a_failure_that_may_be_tolerated(
    broken_write: Callable[[int], None],
) -> None:
    broken_write(9)
    run = run_flow(flow(on_error="continue"))
    steps = run.status.steps
    reason = "its outputs could not be written: ZeroDivisionError: unforeseen"
    assert (steps["a"].state, steps["a"].error) == ("failed", reason)
    assert run.outputs["b"] == {"x": "failed\n"}


# language 19.3
def test_closing_steps_are_told_why_a_step_without_a_record_failed(
    broken_write: Callable[[int], None],
) -> None:
    broken_write(9)
    config = flow()
    told = "{{ steps.a.error }}, {{ run.failed | join }}"
    config["flow"].append({
        "name": "c", "run_if": "failure", "depends_on": "a", "source": "process",
        "input": {"command": ["echo", told]}, "output": [{"name": "x", "value": "stdout"}],
    })  # fmt: skip
    reason = "its outputs could not be written: ZeroDivisionError: unforeseen"
    assert run_flow(config).outputs["c"] == {"x": f"{reason}, a\n"}


# language 10.1
def test_a_record_that_cannot_be_written_is_tried_again(
    broken_write: Callable[[int], None],
) -> None:
    broken_write(1)
    run = run_flow(flow(retry={"max": 1, "delay": 0}))
    assert run.outputs == {"a": {"x": "x\n"}, "b": {"x": "succeeded\n"}}


def step(name: str, script: str, **rest: Any) -> dict[str, Any]:
    """A step of a shell script, whose stdout is its output."""
    return {
        "name": name, "source": "process", "input": {"command": ["sh", "-c", script]},
        "output": [{"name": "x", "value": "stdout"}], **rest,
    }  # fmt: skip


# language 9.2
@pytest.mark.parametrize("executor", ["in_process", "warm", "multiprocess"])
def test_a_record_that_is_damaged_fails_the_step_that_reads_it(
    executor: str, made_home: Path
) -> None:
    emptied = f"for f in $(find '{made_home}' -path '*/steps/a'); do : > $f; done"
    run = run_flow(
        {
            "runner": {"executor": executor, "max_workers": 1},
            "flow": [
                step("a", "echo x"),
                step("damage", emptied, depends_on="a"),
                {**step("b", "echo y", depends_on="damage"), "on_error": "continue",
                 "input": {"command": ["echo", "{{ flows.a.x }}"]}},
                {**step("c", ""), "input": {"command": ["echo", "{{ steps.b.error }}"]}},
            ],
        }
    )  # fmt: skip
    steps = run.status.steps
    assert (steps["damage"].state, steps["b"].state, steps["c"].state) == (
        "succeeded", "failed", "succeeded"
    )  # fmt: skip
    assert "damaged" in (steps["b"].error or "")
    assert run.outputs["c"] == {"x": f"{steps['b'].error}\n"}
    assert run.success


# language 10.1
@pytest.mark.parametrize("failing", [1, 2])
def test_what_the_store_raises_for_a_record_or_a_parameter_is_retried_and_follows_the_policy(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("step", "given"):
        left = [failing]
        original = getattr(RecordStore, method)

        def broken(self: Any, *args: Any, _of: Any = original, _left: list[int] = left) -> Any:
            if len(args) < 2 or args[1] == "a":
                _left[0] -= 1
                if _left[0] >= 0:
                    raise ZeroDivisionError("unforeseen")
            return _of(self, *args)

        with monkeypatch.context() as patched:
            patched.setattr(RecordStore, method, broken)
            reads = {
                **step("b", "", depends_on="a", on_error="continue",
                       retry={"max": 1, "delay": 0}),
                "input": {"command": ["echo", "{{ flows.a.x }}{{ params.key }}"]},
            }  # fmt: skip
            run = run_flow(
                {
                    "runner": {"executor": "in_process"},
                    "params": {"key": {"type": "string", "secret": True}},
                    "flow": [step("a", "echo x", on_error="continue"), reads,
                             step("c", "echo z", depends_on="b")],
                },
                params={"key": "sesame-open"},
            )  # fmt: skip
        assert run.success
        found = run.status.steps["b"]
        if failing == 1 and method == "step":
            assert (found.state, found.attempt) == ("succeeded", 2)
        elif method == "step":
            reason = "the step could not be started: ZeroDivisionError: unforeseen"
            assert (found.state, found.error, found.attempt) == ("failed", reason, 2)
        else:
            assert "ZeroDivisionError: unforeseen" in (run.status.steps["a"].error or "")
        assert run.outputs["c"] == {"x": "z\n"}
