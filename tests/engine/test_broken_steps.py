"""What breaks a step outside of its attempt has a reason, and follows the step's policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.store.records import RecordStore

pytestmark = pytest.mark.usefixtures("made_home")


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


# language 10.1
def test_a_record_that_cannot_be_written_is_tried_again(
    broken_write: Callable[[int], None],
) -> None:
    broken_write(1)
    run = run_flow(flow(retry={"max": 1, "delay": 0}))
    assert run.outputs == {"a": {"x": "x\n"}, "b": {"x": "succeeded\n"}}
