"""When a step fails: every combination of policies, on every executor.

`FLOWTOY_FULL_TABLE=1` also tries those that halt the run on the executors with processes.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from failure_model import Model, Planned, as_flow

from flowtoy_dagster import run_flow

# Dagster calls the class of a failed check deprecated, also when an event is unpickled.
pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")

SAYS = (None, "fail", "skip", "continue")
DEFAULTS = ("fail", "skip", "continue")
EXECUTORS = ["in_process", "warm", "multiprocess"]
# The runs that halt are many, and alike on all executors: each on each of them only on request.
HALTING_ON = EXECUTORS if "FLOWTOY_FULL_TABLE" in os.environ else ["in_process"]


def states_of(run: Any) -> dict[str, str]:
    return {name: step.state for name, step in run.status.steps.items()}


def check(run: Any, model: Model) -> None:
    """Everything that section 9 says of a run, by its status, outputs and success."""
    states = states_of(run)
    model.check(states, run.success)
    # language 9.6, 12
    assert list(run.outputs) == list(model.steps)
    for name, value in run.outputs.items():
        assert value == ({"value": "set"} if states[name] == "succeeded" else None), name
    for name, step in run.status.steps.items():
        if step.state == "failed":
            assert step.error == "false exited with code 1"
        elif step.state == "skipped":
            assert step.error
        else:
            assert step.error is None, name


def table(default: str) -> tuple[list[Planned], list[tuple[str | None, str | None]]]:
    """Steps for each pair of policies that does not halt, and the pairs that do."""
    steps, halting = [], []
    for own, other in itertools.product(SAYS, SAYS):
        said = f"{own}-{other}"
        pair = [
            Planned(f"failed {said}", fails=True, on_error=own),
            Planned(f"dependent {said}", on_error=other, depends_on=(f"failed {said}",)),
        ]
        if Model(pair, default).halts(pair[0].name):
            halting.append((own, other))
            continue
        last = (f"dependent {said}", f"beside {said}")
        steps += [
            *pair,
            Planned(f"beside {said}"),
            Planned(f"after {said}", on_error="continue", depends_on=last),
        ]
    leaves = [own for own in SAYS if (own or default) != "fail"]
    steps += [Planned(f"leaf {own}", fails=True, on_error=own) for own in leaves]
    return steps, halting


def test_the_model_halts_where_the_rules_say_so() -> None:
    # language 9.1, 9.2, 9.3
    assert table("fail")[1] == [(a, b) for a in (None, "fail") for b in (None, "fail")]
    assert table("skip")[1] == [("fail", "fail")]
    assert table("continue")[1] == [("fail", "fail")]
    assert Model([Planned("leaf", fails=True)]).halts("leaf")
    assert not Model([Planned("leaf", fails=True)], "skip").halts("leaf")


@pytest.mark.parametrize("default", DEFAULTS)
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.timeout(600)
def test_every_pair_of_policies_that_goes_on(
    executor: str, default: str, monkeypatch: pytest.MonkeyPatch, run_on: Callable[..., Any]
) -> None:
    # language 9.1, 9.2, 9.5, 9.6, 9.7; what depends on the dependent shares its fate
    monkeypatch.setenv("A_VARIABLE", "set")
    steps, _ = table(default)
    run = run_on(as_flow(steps, default, executor=executor))
    model = Model(steps, default)
    assert states_of(run) == model.unhalted()
    check(run, model)


HALTING = [
    *(("fail", own, other) for own in (None, "fail") for other in (None, "fail")),
    ("skip", "fail", "fail"),
    ("continue", "fail", "fail"),
]


@pytest.mark.parametrize("executor", HALTING_ON)
@pytest.mark.parametrize(
    ("default", "own", "other"), HALTING, ids=lambda value: value or "unsaid"
)
def test_what_has_not_started_is_skipped_when_a_failure_halts_the_run(
    default: str,
    own: str | None,
    other: str | None,
    executor: str,
    monkeypatch: pytest.MonkeyPatch,
    run_on: Callable[..., Any],
    stored: Callable[[str], Any],
) -> None:
    # language 9.2, 9.4, 9.7. One step at a time: what has nothing to do with it comes later.
    monkeypatch.setenv("A_VARIABLE", "set")
    steps = [
        Planned("first"),
        Planned("failed", fails=True, on_error=own, depends_on=("first",)),
        Planned("dependent", on_error=other, depends_on=("failed",)),
        Planned("after", on_error="continue", depends_on=("dependent",)),
        # This can start only after `failed` has: it waits for more.
        Planned("link", depends_on=("first",)),
        Planned("unrelated", on_error="continue", depends_on=("link",)),
    ]
    run = run_on(as_flow(steps, default, executor=executor), 1)
    check(run, Model(steps, default))
    told = {name: step.error for name, step in run.status.steps.items()}
    halted = "the run was halted when 'failed' failed"
    assert told["dependent"] == "'failed' failed"
    assert told["after"] in (halted, "'dependent' was skipped")
    assert told["unrelated"] in (halted, "'link' was skipped")
    assert states_of(run)["unrelated"] == "skipped"
    # runtime 6
    kept = stored(run.run_id)
    assert kept.status == "FAILURE"
    assert kept.steps_with("STEP_FAILURE") == ["failed"]
    after = kept.steps_with("STEP_START")
    assert after[after.index("failed") + 1 :] == []
    assert set(kept.steps_with("STEP_SKIPPED")) == {
        name for name, state in states_of(run).items() if state == "skipped"
    }


@pytest.mark.parametrize("executor", ["warm", "multiprocess"])
@pytest.mark.parametrize("leaf", [True, False], ids=["no dependents", "a dependent"])
def test_a_step_that_runs_when_the_run_halts_finishes(
    executor: str, leaf: bool, tmp_path: Path, stored: Callable[[str], Any]
) -> None:
    # language 9.3, 9.4, 9.7. `running` ends only when the failure has been taken in.
    started, failed = tmp_path / "started", tmp_path / "failed"
    wait = f"touch {started}; until [ -e {failed} ]; do sleep 0.05; done; echo finished"
    fail = f"until [ -e {started} ]; do sleep 0.05; done; exit 4"
    flow = [
        {"name": "running", "source": "process", "input": {"command": ["sh", "-c", wait]},
         "output": [{"name": "text", "value": "stdout"}]},
        {"name": "bad", "source": "process", "input": {"command": ["sh", "-c", fail]}},
        {"name": "later", "source": {"type": "env"}, "depends_on": ["running"]},
    ]
    if not leaf:
        flow.append({"name": "needs bad", "source": {"type": "env"}, "depends_on": ["bad"]})

    def tell(change: Any) -> None:
        if change.step.name == "bad" and change.step.state == "failed":
            failed.touch()

    config = {"runner": {"executor": executor}, "flow": flow}
    run = run_flow(config, 2, on_change=tell)
    states = states_of(run)
    assert states.pop("needs bad", "skipped") == "skipped"
    assert states == {"running": "succeeded", "bad": "failed", "later": "skipped"}
    assert run.outputs["running"] == {"text": "finished\n"}
    assert run.status.steps["later"].error == "the run was halted when 'bad' failed"
    assert not run.success
    kept = stored(run.run_id)
    assert kept.status == "FAILURE"
    assert "later" in kept.steps_with("STEP_SKIPPED")
    assert "later" not in kept.steps_with("STEP_START")


def test_the_reason_of_a_halt_is_the_failure_that_halted(tmp_path: Path) -> None:
    # language 9.4. A failure that only fails the run in the end is not to blame for the halt.
    ready, failed = tmp_path / "ready", tmp_path / "failed"
    late = f"until [ -e {ready} ]; do sleep 0.05; done; exit 1"
    waits = f"touch {ready}; until [ -e {failed} ]; do sleep 0.05; done"
    flow = [
        {"name": "early", "source": "process", "input": {"command": "false"}},
        {"name": "fixes", "source": {"type": "env"}, "depends_on": "early",
         "on_error": "continue"},
        {"name": "late", "source": "process", "input": {"command": ["sh", "-c", late]},
         "depends_on": "fixes"},
        {"name": "waits", "source": "process", "depends_on": "fixes",
         "input": {"command": ["sh", "-c", waits]}},
        {"name": "never", "source": {"type": "env"}, "depends_on": "waits"},
    ]

    def tell(change: Any) -> None:
        if change.step.name == "late" and change.step.state == "failed":
            failed.touch()

    run = run_flow({"flow": flow}, 2, on_change=tell)
    assert states_of(run)["early"] == "failed"
    assert states_of(run)["never"] == "skipped"
    assert run.status.steps["never"].error == "the run was halted when 'late' failed"


def test_what_tolerates_the_failure_that_halts_the_run_runs(run_on: Callable[..., Any]) -> None:
    # language 9.2, 9.4
    steps = [
        Planned("bad", fails=True),
        Planned("halts", depends_on=("bad",)),
        Planned("unrelated"),
        Planned("alert", on_error="continue", depends_on=("bad",)),
        Planned("second alert", on_error="continue", depends_on=("bad", "alert")),
        Planned("waits", on_error="continue", depends_on=("bad", "unrelated")),
        Planned("after", depends_on=("alert",)),
        Planned("bad alert", fails=True, on_error="continue", depends_on=("bad",)),
        Planned("alert of that", depends_on=("bad alert",)),
    ]
    run = run_on(as_flow(steps, executor="in_process"), 1)
    assert states_of(run) == {
        "bad": "failed", "halts": "skipped", "unrelated": "skipped", "alert": "succeeded",
        "second alert": "succeeded", "waits": "skipped", "after": "skipped",
        "bad alert": "failed", "alert of that": "succeeded",
    }
    told = {name: step.error for name, step in run.status.steps.items()}
    halted = "the run was halted when 'bad' failed"
    assert told["halts"] == "'bad' failed"
    assert told["unrelated"] == told["after"] == halted
    assert told["waits"] in (halted, "'unrelated' was skipped")
    assert not run.success


def test_a_tolerated_failure_is_seen_in_dagster(stored: Callable[[str], Any]) -> None:
    # language 9.5, runtime 6
    steps = [
        Planned("bad", fails=True, on_error="skip"),
        Planned("skipped", depends_on=("bad",)),
    ]
    run = run_flow(as_flow(steps, executor="in_process"))
    kept = stored(run.run_id)
    assert run.success
    assert kept.status == "SUCCESS"
    assert kept.steps_with("STEP_SKIPPED") == ["skipped"]
    (check_of_bad,) = kept.events("STEP_EXPECTATION_RESULT", "bad")
    assert not check_of_bad.step_expectation_result_data.expectation_result.success
    assert kept.events("STEP_OUTPUT", "bad") == []
    errors = [entry for entry in kept.entries if entry.level >= 40]
    assert any("false exited with code 1" in entry.user_message for entry in errors)


def test_the_exit_code_is_that_of_the_failing_steps_own_policy(
    flowtoy: Callable[..., Any], write: Callable[..., Path]
) -> None:
    # language 9.5, 9.6
    flow = """
        flow:
          - {{name: bad, source: process, input: {{command: "false"}}, on_error: {own}}}
          - {{name: next, source: {{type: env}}, depends_on: bad, on_error: {other}}}
        """
    fails = flowtoy("run", write(flow.format(own="fail", other="continue")), "-j")
    assert fails.code == 1
    assert fails.json == {"bad": None, "next": {}}
    goes_on = flowtoy("run", write(flow.format(own="skip", other="fail")), "-j")
    assert goes_on.code == 0
    assert goes_on.json == {"bad": None, "next": None}
    assert "bad   failed after" in goes_on.stderr
    assert "next  skipped: 'bad' failed" in goes_on.stderr
    assert "finished with failures: 0 succeeded, 1 failed, 1 skipped" in goes_on.stderr
    shown = flowtoy("runs", "show", "last")
    assert "state    finished with failures" in shown.stdout
    listed = flowtoy("runs", "--json").json
    assert [run["verdict"] for run in listed] == ["finished with failures", "failed"]
    assert [run["state"] for run in listed] == ["succeeded", "failed"]
    assert "finished with failures" in flowtoy("runs").stdout


def test_outputs_of_a_step_that_failed_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    # language 9.2, 6.4
    config = {
        "runner": {"executor": "in_process", "on_error": "continue"},
        "flow": [
            {"name": "bad", "source": "process", "input": {"command": ["sh", "-c", "exit 6"]},
             "output": [{"name": "x", "value": "stdout"}]},
            {"name": "asks", "source": "process",
             "input": {"command": ["echo", "{{ flows.bad.x | default('none') }}",
                                   "{{ steps.bad.state }}", "{{ steps.bad.result.code }}"]},
             "output": [{"name": "text", "value": "stdout"}]},
            {"name": "needs", "source": "process",
             "input": {"command": ["echo", "{{ flows.bad.x }}"]}},
        ],
    }
    run = run_flow(config)
    assert run.outputs["asks"] == {"text": "none failed 6\n"}
    assert "flows.bad.x is missing" in (run.status.steps["needs"].error or "")
    assert "the step 'bad' was not successful" in (run.status.steps["needs"].error or "")


def test_a_skipped_step_blames_what_failed_before_what_was_skipped() -> None:
    # language 9.6
    fails, works = ({"type": "process", "command": [name]} for name in ("false", "true"))
    run = run_flow(
        {
            "runner": {"executor": "in_process", "on_error": "skip"},
            "flow": [
                {"name": "first", "source": fails},
                {"name": "skipped", "source": works, "depends_on": "first"},
                {"name": "second", "source": fails},
                {"name": "last", "source": works, "depends_on": ["skipped", "second"]},
            ],
        }
    )
    assert run.status.steps["skipped"].error == "'first' failed"
    assert run.status.steps["last"].error == "'second' failed"
