"""Retries: which steps run again and why, and whose outputs are reused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowtoy_dagster import UsageError, load_flow, run_flow
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.prune import prune_runs
from flowtoy_dagster.runs.retry import RetryPlan, plan_retry, retry_run
from flowtoy_dagster.runs.run import FlowRun

pytestmark = pytest.mark.usefixtures("made_home")

# runtime 11


@pytest.fixture
def steps(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A flow a -> b -> c and a -> d; each step counts its calls, and fails until told not to."""

    def make(executor: str = "in_process", **changes: Any) -> dict[str, Any]:
        def step(name: str, *needs: str) -> dict[str, Any]:
            script = f"echo x >> {name}; [ ! -e {name}.fails ] || exit 3; printf '%s' \"$*\""
            values = [f"{{{{ flows.{need}.text }}}}" for need in needs]
            return {
                "name": name,
                "source": {"type": "process", "cwd": str(tmp_path)},
                "input": {"command": ["sh", "-c", script, "-", name, *values]},
                "output": [{"name": "text", "value": "stdout"}],
                **changes.get(name, {}),
            }

        return {
            "name": "abcd",
            "runner": {"executor": executor},
            "flow": [step("a"), step("b", "a"), step("c", "b"), step("d", "a")],
        }

    return make


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], dict[str, int]]:
    """How often each step was called."""

    def count() -> dict[str, int]:
        return {
            name: len((tmp_path / name).read_text().splitlines())
            for name in "abcd"
            if (tmp_path / name).exists()
        }

    return count


def retry(run_id: str = "last", **options: Any) -> tuple[RetryPlan, FlowRun]:
    with History() as history:
        plan = plan_retry(history, history.find(run_id), **options)
        return plan, retry_run(history, plan, 2)


@pytest.mark.parametrize("executor", ["in_process", "warm", "multiprocess"])
def test_what_succeeded_is_not_run_again_and_its_outputs_are_reused(
    executor: str, steps: Callable[..., Any], calls: Callable[[], Any], tmp_path: Path
) -> None:
    # runtime 11, language 9.7
    (tmp_path / "b.fails").touch()
    first = run_flow(steps(executor), 1)
    assert first.status.state == "failed"
    before = calls()
    (tmp_path / "b.fails").unlink()
    plan, second = retry()
    assert second.success, second.status
    assert second.outputs == {
        "a": {"text": "a"}, "b": {"text": "b a"}, "c": {"text": "c b a"}, "d": {"text": "d a"},
    }
    assert plan.reasons["b"] == "it failed: sh exited with code 3"
    assert plan.reasons["c"] == "it was skipped: 'b' failed"
    assert "a" not in plan.reasons
    assert calls()["a"] == before["a"] == 1
    assert calls()["b"] == 2
    assert calls()["c"] == 1
    assert second.status.steps["a"].reused
    assert not second.status.steps["b"].reused
    # Dagster's lineage
    with History() as history:
        run = history.find(second.run_id)
        assert run.parent_run_id == run.root_run_id == first.run_id
        assert run.run_id != first.run_id
        assert history.runs()[0].retry_of == first.run_id
        events = history.instance.all_logs(run.run_id, dg.DagsterEventType.STEP_START)
        assert {entry.step_key for entry in events} == set(plan.reasons)


def test_a_retry_of_a_retry_reuses_what_either_has(
    steps: Callable[..., Any], calls: Callable[[], Any], tmp_path: Path
) -> None:
    # runtime 11
    for name in ("b.fails", "c.fails"):
        (tmp_path / name).touch()
    first = run_flow(steps(), 1)
    (tmp_path / "b.fails").unlink()
    _, second = retry()
    assert not second.success
    assert second.outputs["b"] == {"text": "b a"}
    (tmp_path / "c.fails").unlink()
    _, third = retry()
    assert third.success
    assert third.outputs["c"] == {"text": "c b a"}
    assert (calls()["a"], calls()["b"], calls()["c"]) == (1, 2, 2)
    with History() as history:
        run = history.find("last")
        assert run.parent_run_id == second.run_id
        assert run.root_run_id == first.run_id
        status = history.status(run)
    assert status.success
    assert all(step.state == "succeeded" for step in status.steps.values())
    assert status.steps["a"].reused
    assert status.steps["b"].reused


def test_a_run_of_which_nothing_failed_is_not_retried(steps: Callable[..., Any]) -> None:
    run = run_flow(steps())
    with pytest.raises(UsageError, match=r"every step of run .* succeeded: nothing to retry"):
        retry(run.run_id)


def test_from_a_step_it_and_all_after_it_run_again(
    steps: Callable[..., Any], calls: Callable[[], Any]
) -> None:
    run_flow(steps())
    plan, again = retry(from_step="b")
    assert dict(plan.reasons) == {
        "b": "you asked to start from it",
        "c": "it depends on 'b', which runs again",
    }
    assert again.success
    assert calls() == {"a": 1, "b": 2, "c": 2, "d": 1}


def test_from_a_step_that_is_not_there_is_refused(steps: Callable[..., Any]) -> None:
    run_flow(steps())
    with pytest.raises(UsageError, match="there is no step 'bb'"):
        retry(from_step="bb")


def test_a_changed_step_and_its_dependents_run_again(
    steps: Callable[..., Any], calls: Callable[[], Any]
) -> None:
    run_flow(steps())
    changed = steps(b={"input": {"command": ["echo", "other {{ flows.a.text }}"]}})
    plan, again = retry(flow=load_flow(changed))
    assert list(plan.differences) == ["b"]
    assert "+   - other {{ flows.a.text }}" in plan.differences["b"]
    assert list(plan.reasons) == ["b", "c"]
    assert plan.reasons["c"] == "it depends on 'b', which runs again"
    assert again.outputs["c"] == {"text": "c other a\n"}
    assert calls() == {"a": 1, "b": 1, "c": 2, "d": 1}
    # The changed configuration is now that of the retry, and the first run keeps its own.
    with History() as history:
        assert history.flow(history.find("last")).config == load_flow(changed).config


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "outputs": ({"output": [{"name": "text", "value": "stderr"}]}, "+   value: stderr"),
    "input": (
        {"source": {"type": "process", "command": ["cat"], "pass_to": "stdin"},
         "input": {"type": "value", "value": 171}},
        "+ input: 171",
    ),
    "dependencies": ({"depends_on": ["d"]}, "+ - d"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_change_of_a_step_is_told(what: str, steps: Callable[..., Any]) -> None:
    change, line = CHANGES[what]
    run_flow(steps())
    with History() as history:
        plan = plan_retry(history, history.find("last"), flow=load_flow(steps(c=change)))
    assert line in plan.differences["c"]
    assert list(plan.differences) == list(plan.reasons) == ["c"]
    told = plan.lines()
    assert told[0] == "c differs from what ran:"
    assert f"    {line}" in told


def test_secrets_in_a_difference_are_hidden(steps: Callable[..., Any]) -> None:
    # language 13.2. The value is long, as YAML breaks long values into lines.
    secret = "a secret of many words that is longer than a line of YAML " * 3
    said = {"input": {"command": ["true"], "env": {"API_KEY": secret}}}
    run_flow(steps())
    with History() as history:
        plan = plan_retry(history, history.find("last"), flow=load_flow(steps(d=said)))
    text = "\n".join(plan.lines())
    assert "API_KEY: '***'" in text or "API_KEY: ***" in text
    assert "many words" not in text


@pytest.mark.parametrize(
    "change",
    [{"description": "new"}, {"tags": {"team": "blue"}}, {"on_error": "skip"}, {"retry": 3},
     {"timeout": "5m"}],
    ids=lambda change: next(iter(change)),
)
def test_what_does_not_change_its_outputs_runs_no_step_again(
    change: dict[str, Any], steps: Callable[..., Any]
) -> None:
    run_flow(steps())
    with History() as history, pytest.raises(UsageError, match="nothing to retry"):
        plan_retry(history, history.find("last"), flow=load_flow(steps(b=change)))


def test_a_new_step_runs_and_one_that_is_gone_does_not(
    steps: Callable[..., Any], calls: Callable[[], Any]
) -> None:
    run_flow(steps())
    config = steps()
    config["flow"][-1] = {
        "name": "e", "source": "process", "input": {"command": ["echo", "{{ flows.b.text }}"]},
        "output": [{"name": "text", "value": "stdout"}],
    }
    plan, again = retry(flow=load_flow(config))
    assert dict(plan.reasons) == {"e": plan.reasons["e"]}
    assert again.success, again.status
    assert list(again.outputs) == ["a", "b", "c", "e"]
    assert again.outputs["e"] == {"text": "b a\n"}
    assert calls() == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_a_changed_source_changes_the_steps_that_use_it(steps: Callable[..., Any]) -> None:
    config = steps()
    config["sources"] = {"shared": {"type": "env", "vars": ["A"]}}
    config["flow"][3] = {"name": "d", "source": "shared"}
    run_flow(config)
    config["sources"]["shared"]["vars"] = ["B"]
    with History() as history:
        plan = plan_retry(history, history.find("last"), flow=load_flow(config))
    assert list(plan.reasons) == ["d"]


def test_a_step_whose_outputs_are_gone_runs_again(
    steps: Callable[..., Any], calls: Callable[[], Any], tmp_path: Path
) -> None:
    # runtime 13: only what is there is trusted
    (tmp_path / "c.fails").touch()
    run_flow(steps(), 1)
    (tmp_path / "c.fails").unlink()
    with History() as history:
        (history.home / "flowtoy-records" / history.find("last").run_id / "steps/b").unlink()
    plan, again = retry()
    assert plan.reasons["b"] == "its outputs are gone"
    assert again.success
    assert calls()["a"] == 1
    assert again.outputs["c"] == {"text": "c b a"}


def test_tolerated_failures_are_tried_again_too(
    steps: Callable[..., Any], tmp_path: Path
) -> None:
    # language 9.5: the run succeeded, and yet a step of it failed
    (tmp_path / "b.fails").touch()
    first = run_flow(steps(b={"on_error": "skip"}))
    assert first.success
    (tmp_path / "b.fails").unlink()
    plan, again = retry()
    assert list(plan.reasons) == ["b", "c"]
    assert again.outputs["c"] == {"text": "c b a"}


def test_what_succeeded_although_a_step_before_it_failed_is_reused(
    steps: Callable[..., Any], calls: Callable[[], Any], tmp_path: Path
) -> None:
    # runtime 11, language 9.2: succeeded steps are not executed again; `--from` does that
    (tmp_path / "b.fails").touch()
    c = {"input": {"command": ["echo", "{{ flows.b.text | default('nothing') }}"]}}
    first = run_flow(steps(b={"on_error": "continue"}, c=c))
    assert first.outputs["c"] == {"text": "nothing\n"}
    (tmp_path / "b.fails").unlink()
    plan, again = retry()
    assert list(plan.reasons) == ["b"]
    assert again.outputs["c"] == {"text": "nothing\n"}
    _, from_b = retry(from_step="b")
    assert from_b.outputs["c"] == {"text": "b a\n"}


def test_the_plan_is_told_a_line_a_step(steps: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "b.fails").touch()
    run_flow(steps(d={"depends_on": "b"}))
    with History() as history:
        plan = plan_retry(history, history.find("last"))
    assert plan.lines() == [
        "a  reused  it succeeded before",
        "b  runs    it failed: sh exited with code 3",
        "c  runs    it was skipped: 'b' failed",
        "d  runs    it was skipped: 'b' failed",
    ]


def test_a_step_that_failed_itself_says_so_although_it_depends_on_one_that_runs(
    steps: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "b.fails").touch()
    run_flow(steps())
    with History() as history:
        plan = plan_retry(history, history.find("last"), from_step="a")
    assert plan.reasons == {
        "a": "you asked to start from it",
        "b": "it failed: sh exited with code 3",
        "c": "it was skipped: 'b' failed",
        "d": "it was skipped: the run was halted when 'b' failed",
    }


def test_pruning_keeps_what_a_kept_retry_reuses(
    steps: Callable[..., Any], calls: Callable[[], Any], tmp_path: Path
) -> None:
    other = run_flow(steps(), 1)
    (tmp_path / "c.fails").touch()
    first = run_flow(steps(), 1)
    (tmp_path / "c.fails").unlink()
    _, second = retry()
    with History() as history:
        assert prune_runs(history, 1) == [other.run_id]
        run = history.find("last")
        assert run.run_id == second.run_id
        records = dict(history.records(run, history.status(run)))
    assert {name: record and record.outputs for name, record in records.items()} == {
        "a": {"text": "a"}, "b": {"text": "b a"}, "c": {"text": "c b a"}, "d": {"text": "d a"},
    }
    with History() as history:
        assert history.instance.has_run(first.run_id)


@pytest.mark.parametrize(
    "given",
    [{"s": 1, "m": {"z": None, "a": [True, 1.5]}}, [{"b": 1, "a": 2}]], ids=["object", "list"],
)
def test_a_retry_has_the_keys_of_a_parameter_in_their_order(
    given: Any, steps: Callable[..., Any], tmp_path: Path
) -> None:
    # language 15.5: Dagster sorts the keys of a configuration that it stores
    kind = "list" if isinstance(given, list) else "object"
    shown = {"output": [{"name": "text", "type": "template", "value": "{{ params.p }}"}]}
    flow = {**steps(d=shown), "params": {"p": {"type": kind}}}
    (tmp_path / "a.fails").touch()
    assert not run_flow(flow, params={"p": given}).success
    (tmp_path / "a.fails").unlink()
    _, done = retry()
    assert json.dumps(done.outputs["d"]["text"]) == json.dumps(given)
    changed = {"s": 1.0, "m": {"z": None, "a": [True, 1.5]}} if kind == "object" else [{"a": 2}]
    _, again = retry(from_step="d", params=[f"p={json.dumps(changed)}"])
    assert json.dumps(again.outputs["d"]["text"]) == json.dumps(changed)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, None], ids=["folder", "fifo", "gone"])
def test_a_step_whose_record_can_t_be_read_runs_again_and_is_named(
    make: Callable[[Path], None] | None, made_home: Path, flowtoy: Callable[..., Any],
    write: Callable[..., Path],
) -> None:
    flow = write("""
        runner: {executor: in_process}
        flow:
          - {name: a, source: process,
             input: {command: [echo, x]}, output: [{name: t, value: stdout}]}
          - {name: b, source: process, depends_on: a, input: {command: ["false"]}}
    """)
    assert flowtoy("run", flow).code == 1
    (record,) = made_home.glob("flowtoy-records/*/steps/a")
    record.unlink()
    if make is not None:
        make(record)
    shown = flowtoy("runs", "outputs", "last", "--json")
    assert (shown.code, json.loads(shown.stdout)["a"]) == (0, None)
    assert "the record of step 'a' of run" in shown.stderr
    told = flowtoy("eval", "{{ flows.a.t }}")
    assert told.code == 1
    assert "the record of step 'a' of run" in told.stderr
    again = flowtoy("retry", "last")
    assert again.code == 1
    assert "a  runs    its outputs are gone" in again.stderr
    assert "unexpected" not in shown.stderr + told.stderr + again.stderr
