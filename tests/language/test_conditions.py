"""Conditions in runs: alike on all executors, seen in Dagster, asked again by a retry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowtoy_dagster import UsageError, run_flow
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry, retry_run
from flowtoy_dagster.runs.status.status_document import status_document

pytestmark = [
    pytest.mark.usefixtures("made_home"),
    # Dagster calls the class of a failed check deprecated, also when an event is unpickled.
    pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning"),
]


def flow(executor: str = "in_process", full: bool = False) -> dict[str, Any]:
    """Two branches, and steps that join, need and follow them."""
    def echo(text: str) -> dict[str, Any]:
        return {"source": {"type": "process", "command": ["echo", text]},
                "output": [{"name": "x", "type": "json"}]}

    return {
        "runner": {"executor": executor},
        "params": {"full": full, "token": {"default": "hunter-2-x", "secret": True}},
        "flow": [
            {"name": "all", "when": "params.full", **echo("[1, 2]")},
            {"name": "some", "when": "not params.full", **echo("[3]")},
            {"name": "joins", **echo("{{ flows.all.x | default(flows.some.x) }}")},
            {"name": "needs", **echo("{{ flows.all.x }}")},
            {"name": "follows", "source": "env", "depends_on": "needs"},
            {"name": "hides", "when": "params.token == 'hunter-2-x' and false", "source": "env"},
        ],
    }


@pytest.fixture
def history(home: Path) -> Iterator[History]:
    """The runs of this test's home."""
    with History(home) as opened:
        yield opened


# language 19.1, 19.2
@pytest.mark.parametrize("executor", ["in_process", "warm", "multiprocess"])
@pytest.mark.timeout(600)
def test_conditions_are_alike_on_all_executors(executor: str, history: History) -> None:
    done = run_flow(flow(executor))
    assert done.success, [step.error for step in done.status.steps.values()]
    assert done.status.verdict == "succeeded"
    assert done.outputs == {
        "all": None, "some": {"x": [3]}, "joins": {"x": [3]}, "needs": None, "follows": {},
        "hides": None,
    }
    stored = history.status(history.find(done.run_id))
    for status in (done.status, stored):
        assert {name: step.error for name, step in status.steps.items()} == {
            "all": "its condition is false: params.full",
            "some": None,
            "joins": None,
            "needs": "needs `flows.all.x`, and 'all' was skipped",
            "follows": None,
            "hides": "its condition is false: params.token == '***' and false",
        }
        document = status_document(status)["steps"]["all"]
        assert document["skip_reason"] == "its condition is false: params.full"
        assert (document["state"], document["attempt"]) == ("skipped", 0)


def test_a_skipped_step_shows_its_reason_in_dagster(history: History) -> None:
    done = run_flow(flow())
    events = [
        entry.dagster_event for entry in history.instance.all_logs(done.run_id)
        if entry.dagster_event and entry.dagster_event.step_key == "needs"
    ]
    (note,) = (e for e in events if e.event_type == dg.DagsterEventType.STEP_EXPECTATION_RESULT)
    result = note.step_expectation_result_data.expectation_result
    assert (result.label, result.success) == ("step skipped", True)
    assert result.description == "needs `flows.all.x`, and 'all' was skipped"
    (output,) = (e for e in events if e.is_successful_output)
    assert output.step_output_data.metadata["skipped"].value == result.description


def test_a_retry_asks_conditions_again_where_what_they_depend_on_runs_again(
    history: History, tmp_path: Path
) -> None:
    def process(script: str) -> dict[str, Any]:
        return {"type": "process", "command": ["sh", "-c", script], "cwd": str(tmp_path)}

    written = {
        "runner": {"executor": "in_process"},
        "flow": [
            {"name": "off", "when": "1 > 2", "source": "env"},
            {"name": "flaky", "source": process("[ -e ok ]"), "on_error": "continue"},
            {"name": "if ok", "when": "steps.flaky.state == 'succeeded'", "source": "env"},
            {"name": "reads", "source": "env",
             "input": {"value": "{{ steps['if ok'].outputs }}"}},
        ],
    }
    first = run_flow(written)
    assert {name: step.state for name, step in first.status.steps.items()} == {
        "off": "skipped", "flaky": "failed", "if ok": "skipped", "reads": "skipped",
    }
    (tmp_path / "ok").touch()
    plan = plan_retry(history, history.find(first.run_id))
    assert list(plan.reasons) == ["flaky", "if ok", "reads"]
    assert plan.reasons["if ok"] == "a condition skipped it, and 'flaky' runs again"
    assert plan.lines()[0] == "off    reused  a condition skipped it"
    second = retry_run(history, plan, 1)
    assert {name: step.state for name, step in second.status.steps.items()} == {
        "off": "skipped", "flaky": "succeeded", "if ok": "succeeded", "reads": "succeeded",
    }
    with pytest.raises(UsageError, match="succeeded or was skipped by a condition"):
        plan_retry(history, history.find(second.run_id))


def test_what_a_condition_gives_is_hidden_where_it_is_a_secret() -> None:
    written = flow()
    written["flow"] = [{"name": "it", "when": "params.token", "source": "env"}]
    done = run_flow(written)
    assert done.status.steps["it"].error == "when: expected true or false, got '***'"
    assert not done.success


def test_a_condition_is_not_tried_again(write: Callable[..., Path]) -> None:
    done = run_flow({
        "runner": {"executor": "in_process"},
        "flow": [{"name": "it", "when": "1", "source": "env", "retry": {"max": 3, "delay": 0}}],
    })
    assert done.status.steps["it"].attempt == 1
