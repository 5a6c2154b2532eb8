"""Runs of loops whose items have cursors: when each is stored, and how that is told."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.progress.words import cursor_move, cursor_words
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.items import RunItems
from flowtoy_dagster.runs.retry import plan_retry, retry_run
from flowtoy_dagster.runs.run import FlowRun
from flowtoy_dagster.runs.status.models import Change, CursorStatus
from flowtoy_dagster.runs.status.status_document import read_status, status_document
from flowtoy_dagster.steps.state.cursors import CursorCounts, StoredCursor
from flowtoy_dagster.store.cursors import cursors_of

STORES = ("a", "b", "c")


def shell(command: str) -> dict[str, Any]:
    return {"type": "process", "command": command}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home; the folder above it has what flows read, a file for each store."""
    for number, store in enumerate(STORES, 1):
        write(tmp_path / "home", store, number, number * 10)
    return tmp_path / "home"


def write(home: Path, store: str, *values: Any) -> None:
    (home.parent / store).write_text(json.dumps([{"n": value} for value in values]))


def flow_of(
    home: Path,
    load: str = "true",
    executor: str = "in_process",
    stores: tuple[str, ...] = STORES,
    read: str = "cat {{ item }}",
    step: dict[str, Any] | None = None,
    **incremental: Any,
) -> dict[str, Any]:
    """A flow that loops over stores, and loads what it has read."""
    rows = {
        "name": "rows",
        "for_each": {"in": list(stores), "key": "{{ item }}", "max_failures": 1},
        "source": shell(
            f"cd {home.parent}; echo {{{{ item }}}} {{{{ incremental.start_value }}}} >> calls; "
            f"{read}"
        ),
        "incremental": {"cursor_path": "n", "initial_value": 0, **incremental},
        "output": [{"name": "since", "value": "{{ incremental.start_value }}"}],
        **(step or {}),
    }
    loads = {"name": "load", "source": shell(f"cd {home.parent}; {load}"), "depends_on": "rows"}
    return {"name": "shop", "runner": {"executor": executor}, "flow": [rows, loads]}


def stored(home: Path) -> dict[str, Any]:
    return {item: one.value for item, one in cursors_of(home).items("shop", "rows").items()}


def calls(home: Path) -> list[str]:
    """What the items have called since the last time."""
    path = home.parent / "calls"
    found = sorted(path.read_text().splitlines()) if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def cursor(run: FlowRun) -> CursorStatus:
    found = run.status.steps["rows"].cursor
    assert found is not None, [step.error for step in run.status.steps.values()]
    return found


def again(home: Path) -> FlowRun:
    with History(home) as history:
        return retry_run(history, plan_retry(history, history.find("last")), 1)


# language 22.6


@pytest.mark.parametrize("executor", ["in_process", "warm", "multiprocess"])
def test_each_item_that_succeeds_moves_its_own_value(home: Path, executor: str) -> None:
    (home.parent / "b").unlink(missing_ok=True)
    done = run_flow(flow_of(home, executor=executor, lag=1), home=home)
    assert done.success, [step.error for step in done.status.steps.values()]
    assert cursor(done) == CursorStatus("stored", items=CursorCounts(2, 1, 0))
    assert stored(home) == {"a": 10, "c": 30}
    assert calls(home) == ["a 0", "b 0", "c 0"]

    write(home, "b", 4)
    write(home, "c", 29)
    done = run_flow(flow_of(home, executor=executor, lag=1), home=home)
    assert cursor(done) == CursorStatus("stored", items=CursorCounts(1, 2, 0))
    assert stored(home) == {"a": 10, "b": 4, "c": 30}
    assert calls(home) == ["a 9", "b 0", "c 29"]


def test_a_key_that_is_gone_keeps_its_value_and_a_new_one_begins_at_the_initial_value(
    home: Path,
) -> None:
    run_flow(flow_of(home, stores=("a", "b")), home=home)
    run_flow(flow_of(home, stores=("c",)), home=home)
    assert stored(home) == {"a": 10, "b": 20, "c": 30}
    calls(home)
    run_flow(flow_of(home, stores=("c", "b", "a")), home=home)
    assert calls(home) == ["a 10", "b 20", "c 30"]


def test_nothing_newer_leaves_all_as_they_are_and_an_empty_list_too(home: Path) -> None:
    run_flow(flow_of(home), home=home)
    done = run_flow(flow_of(home), home=home)
    told = "nothing newer was read"
    assert cursor(done) == CursorStatus("unchanged", told, items=CursorCounts(0, 3, 0))
    done = run_flow(flow_of(home, stores=()), home=home)
    assert cursor(done) == CursorStatus("unchanged", told, items=CursorCounts())


def test_what_has_not_been_loaded_holds_the_values_of_all_items_back(home: Path) -> None:
    done = run_flow(flow_of(home, load="test -e works"), home=home)
    assert cursor(done) == CursorStatus("held", "'load' failed", items=CursorCounts(0, 0, 3))
    assert stored(home) == {}
    (home.parent / "works").touch()
    calls(home)
    for store in STORES:
        write(home, store, 99)
    done = again(home)
    assert calls(home) == []
    assert cursor(done) == CursorStatus("stored", items=CursorCounts(3, 0, 0))
    assert stored(home) == {"a": 10, "b": 20, "c": 30}


def test_a_loop_that_failed_stores_nothing_and_a_retry_calls_only_what_failed(home: Path) -> None:
    for store in ("b", "c"):
        (home.parent / store).unlink(missing_ok=True)
    done = run_flow(flow_of(home), home=home)
    assert cursor(done) == CursorStatus("held", "the step failed", items=CursorCounts())
    assert stored(home) == {}
    calls(home)
    write(home, "a", 99)
    write(home, "b", 5)
    write(home, "c", 6)
    done = again(home)
    assert calls(home) == ["b 0", "c 0"]
    assert cursor(done) == CursorStatus("stored", items=CursorCounts(3, 0, 0))
    assert stored(home) == {"a": 10, "b": 5, "c": 6}


def test_a_retry_calls_an_item_again_whose_value_another_run_has_moved(home: Path) -> None:
    for store in ("b", "c"):
        (home.parent / store).unlink(missing_ok=True)
    failed = run_flow(flow_of(home), home=home)
    run_flow(flow_of(home, stores=("a",)), home=home)
    calls(home)
    write(home, "a", 10, 12)
    write(home, "b", 5)
    write(home, "c", 6)
    with History(home) as history:
        found = history.find(failed.run_id)
        done = retry_run(history, plan_retry(history, found), 1)
    assert calls(home) == ["a 10", "b 0", "c 0"]
    assert cursor(done) == CursorStatus("stored", items=CursorCounts(3, 0, 0))
    assert stored(home) == {"a": 12, "b": 5, "c": 6}


def test_an_item_that_is_tried_again_has_the_value_of_its_last_attempt(home: Path) -> None:
    read = "test -e tried-{{ item }} && echo '[{\"n\": 1}]' && exit; touch tried-{{ item }}; exit 3"
    done = run_flow(flow_of(home, read=read, step={"retry": {"max": 1, "delay": 0}}), home=home)
    assert cursor(done) == CursorStatus("stored", items=CursorCounts(3, 0, 0))
    assert calls(home) == ["a 0", "a 0", "b 0", "b 0", "c 0", "c 0"]


def test_a_condition_that_skips_an_item_leaves_its_value(home: Path) -> None:
    run_flow(flow_of(home), home=home)
    for store in STORES:
        write(home, store, 99)
    step = {"when": "incremental.last_value != 20"}
    done = run_flow(flow_of(home, step=step), home=home)
    assert cursor(done) == CursorStatus("stored", items=CursorCounts(2, 1, 0))
    assert stored(home) == {"a": 99, "b": 20, "c": 99}


def test_commit_step_stores_with_the_step_whatever_comes_after_it(home: Path) -> None:
    (home.parent / "b").unlink(missing_ok=True)
    done = run_flow(flow_of(home, load="false", commit="step"), home=home)
    assert cursor(done) == CursorStatus("stored", items=CursorCounts(2, 1, 0))
    assert stored(home) == {"a": 10, "c": 30}
    for store in STORES:
        (home.parent / store).unlink(missing_ok=True)
    done = run_flow(flow_of(home, commit="step"), home=home)
    assert done.status.steps["rows"].cursor is None
    assert stored(home) == {"a": 10, "c": 30}


def test_a_worker_that_dies_in_a_loop_loses_no_item_and_calls_none_twice(home: Path) -> None:
    kill = "test {{ item }} != c || test -e killed || { touch killed; kill -9 $PPID; }"
    step = {"for_each": {"in": list(STORES), "key": "{{ item }}", "concurrency": 1}, "retry": 1}
    read = f"{kill}; cat {{{{ item }}}}"
    done = run_flow(flow_of(home, executor="warm", read=read, step=step), home=home)
    assert done.success, [step.error for step in done.status.steps.values()]
    assert calls(home) == ["a 0", "b 0", "c 0", "c 0"]
    assert stored(home) == {"a": 10, "b": 20, "c": 30}


# language 22.4, 22.6


def test_of_two_runs_side_by_side_the_first_moves_each_item_that_it_has_read(home: Path) -> None:
    inner: list[FlowRun] = []

    def overtake(change: Change) -> None:
        if change.step.name == "rows" and change.step.state == "succeeded" and not inner:
            write(home, "a", 4)
            inner.append(run_flow(flow_of(home, stores=("a", "x", "b")), home=home))

    slow = run_flow(flow_of(home), home=home, on_change=overtake)

    assert cursor(inner[0]).items == CursorCounts(2, 1, 0)
    faster = f"run {inner[0].run_id[:8]} was faster: it moved the cursor to"
    told = f"item 'a': {faster} 4; so were 1 more"
    assert cursor(slow) == CursorStatus("held", told, items=CursorCounts(1, 0, 2))
    assert stored(home) == {"a": 4, "b": 20, "c": 30}


def test_what_a_person_does_meanwhile_to_one_item_counts(home: Path) -> None:
    def reset(change: Change) -> None:
        if change.step.name == "rows" and change.step.state == "succeeded":
            cursors_of(home).swap(StoredCursor("shop", "rows", item="b"), None)

    told = cursor(run_flow(flow_of(home), home=home, on_change=reset))
    assert told.items == CursorCounts(2, 0, 1)
    assert (told.reason or "").startswith("item 'b': somebody has reset it meanwhile, at ")
    assert stored(home) == {"a": 10, "b": None, "c": 30}


def test_a_home_that_can_not_be_written_holds_the_values_back(home: Path) -> None:
    def harm(change: Change) -> None:
        if change.step.name == "rows" and change.step.state == "succeeded":
            (home / "flowtoy-state").touch()

    told = cursor(run_flow(flow_of(home), home=home, on_change=harm))
    assert (told.state, told.items) == ("held", CursorCounts(0, 0, 3))
    assert (told.reason or "").startswith("it can't be written: ")


# language 22.6, 13


def test_secret_values_of_items_are_in_no_event(
    home: Path, leaks: Callable[[Path, str], list[Path]]
) -> None:
    for store in STORES:
        write(home, store, f"cursor-{store}-0123456789")
    read = "cat {{ item }}; cat {{ item }} >&2"
    for _ in range(2):
        done = run_flow(flow_of(home, read=read, secret=True), home=home)
    assert cursor(done).state == "unchanged"
    places = {path.relative_to(home).parts[0] for path in leaks(home, "cursor-a-0123456789")}
    assert places == {"flowtoy-state", "flowtoy-records"}
    for path in leaks(home, "cursor-a-0123456789"):
        assert path.stat().st_mode & 0o077 == 0
    with History(home) as history:
        items = RunItems(history, history.find("last"), "rows")
        assert [item["cursor"]["last_value"] for item in items.facts()] == ["***"] * 3


# language 22.6: how it is told


def test_how_the_values_of_items_moved_is_told_everywhere(home: Path) -> None:
    done = run_flow(flow_of(home, load="false"), home=home)
    told = cursor(done)
    assert cursor_words("rows", told) == (
        "rows: the cursors of its items: 3 not stored: 'load' failed"
    )
    assert cursor_move(told) == "3 not stored: 'load' failed"
    assert cursor_move(CursorStatus("stored", items=CursorCounts(1200, 1, 0))) == (
        "1,200 stored, 1 unchanged"
    )
    document = json.loads(json.dumps(status_document(done.status)))
    assert document["steps"]["rows"]["cursor"]["items"] == CursorCounts(0, 0, 3)._asdict()
    assert read_status(document).steps["rows"].cursor == told
    with History(home) as history:
        found = history.find(done.run_id)
        assert history.status(found).steps["rows"].cursor == told
        items = list(RunItems(history, found, "rows").facts())
    assert items[0]["cursor"] == {"start_value": 0, "last_value": 0, "value": 10}


# language 22.6: plain records stay what they are


def test_a_run_that_is_killed_stores_nothing(home: Path) -> None:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        load = "touch loading; sleep 60"
        run_flow(flow_of(home, load=load), home=home)
        os._exit(0)
    while not (home.parent / "loading").exists():
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert stored(home) == {}
    calls(home)
    done = run_flow(flow_of(home), home=home)
    assert calls(home) == ["a 0", "b 0", "c 0"]
    assert cursor(done).items == CursorCounts(3, 0, 0)


# language 22.6: without a run, and answered from a recording


def test_a_replay_begins_where_each_item_was_recorded_and_moves_none(
    home: Path, tmp_path: Path
) -> None:
    run_flow(flow_of(home, stores=("a", "b")), home=home)
    recorded = run_flow(flow_of(home), home=home, record=tmp_path / "rec")
    for store in STORES:
        write(home, store, 99)
    run_flow(flow_of(home), home=home)
    calls(home)
    facts = json.loads((tmp_path / "rec" / "rows" / "items" / "a" / "cursor.json").read_text())
    assert facts == {"step": "rows", "item": "a", "cursor": 10}

    done = run_flow(flow_of(home), home=home, replay=tmp_path / "rec")

    assert not done.unrecorded
    assert calls(home) == []
    assert done.outputs["rows"] == recorded.outputs["rows"] == {"since": [10, 20, 0]}
    told = "a replay moves no cursor"
    assert cursor(done) == CursorStatus("unchanged", told, items=CursorCounts(0, 3, 0))
    assert stored(home) == dict.fromkeys(STORES, 99)


def test_a_test_and_a_step_alone_begin_at_the_initial_value_and_store_nothing(
    flowtoy: Callable[..., Any], clean_environment: Path, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "flow.yaml").write_text(json.dumps(flow_of(home)))
    cursors_of(clean_environment).swap(StoredCursor("shop", "rows", value=7, item="b"), "")
    before = stored(clean_environment)
    done = flowtoy("step", "rows", "flow.yaml", "--item", "b")
    assert (done.code, json.loads(done.stdout)) == (0, {"since": [0]}), done.stderr
    assert calls(home) == ["b 0"]
    shown = flowtoy("step", "rows", "flow.yaml", "--item", "b", "--dry")
    assert '"FLOWTOY_VALUE_2": "0"' in shown.stdout

    (tmp_path / "flow.test.yaml").write_text(json.dumps({
        "flow": "flow.yaml",
        "tests": [{
            "name": "all stores",
            "mock": {"rows": {"stdout": "[]"}, "load": {"stdout": ""}},
            "expect": {"outputs": {"rows": {"since": [0, 0, 0]}}},
        }],
    }))
    tested = flowtoy("test", "flow.test.yaml")
    assert tested.code == 0, tested.stdout + tested.stderr
    assert stored(clean_environment) == before


def test_the_plan_and_the_history_show_a_loop_with_cursors(
    flowtoy: Callable[..., Any], clean_environment: Path, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "flow.yaml").write_text(json.dumps(flow_of(home)))
    assert flowtoy("plan", "flow.yaml").code == 0
    assert flowtoy("run", "flow.yaml").code == 0
    shown = flowtoy("runs", "show", "last")
    assert "\nrows: the cursors of its items: 3 stored\n" in shown.stdout
    items = flowtoy("runs", "show", "last", "rows").stdout.splitlines()
    assert items[1].split() == ["succeeded", "1", "a", "0", "→", "10"]
    assert stored(clean_environment) == {"a": 10, "b": 20, "c": 30}
