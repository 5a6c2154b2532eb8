"""When a cursor is stored: at the end of a run, by whoever carries it, and what holds it back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowtoy_dagster import build_job, run_flow
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry, retry_run
from flowtoy_dagster.runs.run import FlowRun
from flowtoy_dagster.runs.status.models import Change, CursorStatus
from flowtoy_dagster.runs.status.status_document import read_status, status_document
from flowtoy_dagster.steps.state.cursors import StoredCursor
from flowtoy_dagster.store.cursors import cursors_of

READ = "cat {folder}/rows"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home; the folder above it has what flows read."""
    (tmp_path / "rows").write_text('[{"n": 3}, {"n": 5}]')
    return tmp_path / "home"


def shell(command: str) -> dict[str, Any]:
    return {"type": "process", "command": command}


def flow_of(
    home: Path, *others: dict[str, Any], executor: str = "in_process", **incremental: Any
) -> dict[str, Any]:
    """A flow that reads rows with a cursor, and whatever else."""
    rows = {
        "name": "rows",
        "source": shell(READ.format(folder=home.parent)),
        "incremental": {"cursor_path": "n", **incremental},
        "output": [{"name": "since", "value": "{{ incremental.start_value }}"}],
    }
    return {"name": "shop", "runner": {"executor": executor}, "flow": [rows, *others]}


def load(name: str = "load", command: str = "true", **more: Any) -> dict[str, Any]:
    return {"name": name, "source": shell(command), "depends_on": "rows", **more}


def stored(home: Path, key: str = "") -> Any:
    found = cursors_of(home).read("shop", "rows", key)
    return found.value if found is not None else None


def cursor(run: FlowRun) -> CursorStatus:
    found = run.status.steps["rows"].cursor
    assert found is not None, [step.error for step in run.status.steps.values()]
    return found


# language 22.3


@pytest.mark.parametrize("executor", ["in_process", "warm", "multiprocess"])
def test_the_run_stores_the_value_when_everything_has_succeeded(home: Path, executor: str) -> None:
    flow = flow_of(home, load(), executor=executor, lag=1, initial_value=1)
    done = run_flow(flow, home=home)
    assert cursor(done) == CursorStatus("stored", None, "1", "1", "5")
    found = cursors_of(home).read("shop", "rows")
    assert found is not None
    assert (found.value, found.run_id) == (5, done.run_id)
    with History(home) as history:
        later = history.status(history.find(done.run_id))
    assert later.steps["rows"].cursor == cursor(done)
    document = json.loads(json.dumps(status_document(later)))
    assert read_status(document).steps == later.steps
    if executor != "in_process":
        return
    second = run_flow(flow, home=home)
    assert [run.outputs["rows"] for run in (done, second)] == [{"since": 1}, {"since": 4}]
    assert cursor(second) == CursorStatus("unchanged", "nothing newer was read", "4", "5")


def test_execute_in_process_stores_the_value(home: Path) -> None:
    with History(home) as history:
        job = build_job(flow_of(home, load()))
        assert job.execute_in_process(instance=history.instance).success
        assert stored(home) == 5
        (home.parent / "rows").write_text('[{"n": 9}]')
        failing = build_job(flow_of(home, load(command="false")))
        with pytest.raises(dg.Failure, match="false"):
            failing.execute_in_process(instance=history.instance)
        assert stored(home) == 5


HELD = {
    "failed": ([load(command="false")], "'load failed' failed"),
    "tolerated": ([load(command="false", on_error="continue")], "'load tolerated' failed"),
    "far": ([load(), {**load("end", "false"), "depends_on": "load far"}], "'end far' failed"),
    "lost": ([load(depends_on=["lost", "broken"])], "'load lost' did not run to its end"),
    "always": ([load(command="false", run_if="always")], "'load always' failed"),
    "items": (
        [load(for_each={"in": ["true", "false"], "max_failures": 1}, command="{{ item }}")],
        "'load items' failed for 1 of its items",
    ),
}
NOT_HELD = {
    "condition": [load(when=False), {**load("end"), "depends_on": "load condition"}],
    "nobody": [],
    "fine": [load(), load("tell", run_if="failure")],
    "empty": [load(for_each=[])],
    "with the step": [load(command="false")],
}


def test_what_has_not_been_loaded_holds_a_value_back_and_nothing_else(home: Path) -> None:
    steps: list[dict[str, Any]] = [{"name": "broken", "source": shell("false")}]
    for name, others in {**{name: each for name, (each, _) in HELD.items()}, **NOT_HELD}.items():
        (rows,) = flow_of(home, commit="step" if name == "with the step" else "run")["flow"]
        steps.append({**rows, "name": name})
        for other in others:
            after = name if other["depends_on"] == "rows" else other["depends_on"]
            steps.append({**other, "name": f"{other['name']} {name}", "depends_on": after})
    runner = {"executor": "in_process", "on_error": "skip"}
    done = run_flow({"name": "shop", "runner": runner, "flow": steps}, home=home)
    ends = {name: done.status.steps[name].cursor for name in (*HELD, *NOT_HELD)}
    held = {name: CursorStatus("held", why, None, None, "5") for name, (_, why) in HELD.items()}
    assert ends == held | dict.fromkeys(NOT_HELD, CursorStatus("stored", None, None, None, "5"))
    found = {one.step for one in cursors_of(home).all("shop") if isinstance(one, StoredCursor)}
    assert found == set(NOT_HELD)


def test_a_failed_step_stores_nothing(home: Path) -> None:
    (home.parent / "rows").write_text('[{"n": 3}, {"n": "x"}]')
    done = run_flow(flow_of(home), home=home)
    assert cursor(done) == CursorStatus("held", "the step failed")
    assert stored(home) is None


def test_a_retry_that_succeeds_stores_what_the_reused_step_has_read(home: Path) -> None:
    works = f"test -e {home.parent}/works"
    run_flow(flow_of(home, load(command=works), lag=1), home=home)
    (home.parent / "rows").write_text('[{"n": 99}]')
    with History(home) as history:
        again = retry_run(history, plan_retry(history, history.find("last")), 1)
        assert cursor(again) == CursorStatus("held", "'load' failed", None, None, "5")
        (home.parent / "works").touch()
        done = retry_run(history, plan_retry(history, history.find("last")), 1)
    assert cursor(done) == CursorStatus("stored", None, None, None, "5")
    assert stored(home) == 5


# language 22.4


def test_a_run_that_was_overtaken_stores_nothing_and_says_by_which(home: Path) -> None:
    inner: list[FlowRun] = []

    def overtake(change: Change) -> None:
        if change.step.name == "rows" and change.step.state == "succeeded" and not inner:
            (home.parent / "rows").write_text('[{"n": 4}]')
            inner.append(run_flow(flow_of(home), home=home))

    slow = run_flow(flow_of(home), home=home, on_change=overtake)

    assert cursor(inner[0]).state == "stored"
    told = f"run {inner[0].run_id[:8]} was faster: it moved the cursor to 4"
    assert cursor(slow) == CursorStatus("held", told, None, None, "5")
    assert stored(home) == 4


def test_what_a_person_does_meanwhile_counts(home: Path) -> None:
    def reset(change: Change) -> None:
        if change.step.name == "rows" and change.step.state == "succeeded":
            cursors_of(home).swap(StoredCursor("shop", "rows", value=None), None)

    told = cursor(run_flow(flow_of(home), home=home, on_change=reset))
    assert told.state == "held"
    assert told.reason is not None
    assert told.reason.startswith("somebody has reset it meanwhile, at ")
    assert stored(home) is None


def test_a_home_that_can_not_be_written_holds_the_value_back(home: Path) -> None:
    home.mkdir()
    (home / "flowtoy-state").touch()
    told = cursor(run_flow(flow_of(home), home=home))
    assert told == CursorStatus("held", "it can't be written: file exists", None, None, "5")


def test_secret_values_are_in_no_event(
    home: Path, leaks: Callable[[Path, str], list[Path]]
) -> None:
    (home.parent / "rows").write_text('[{"n": "cursor-0123456789"}]')
    for _ in range(2):
        done = run_flow(flow_of(home, secret=True), home=home)
    assert cursor(done) == CursorStatus("unchanged", "nothing newer was read", "***", "***")
    places = {path.relative_to(home).parts[0] for path in leaks(home, "cursor-0123456789")}
    assert places == {"flowtoy-state", "flowtoy-records"}
