"""Loops whose items have cursors, on workers with homes of their own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry, retry_run
from flowtoy_dagster.runs.run import FlowRun
from flowtoy_dagster.runs.status.models import CursorStatus
from flowtoy_dagster.steps.state.cursors import CursorCounts

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")

# language 22.6


def cursor(run: FlowRun) -> CursorStatus | None:
    errors = {name: step.error for name, step in run.status.steps.items()}
    assert "rows" in errors, errors
    return run.status.steps["rows"].cursor


def again() -> FlowRun:
    with History() as history:
        return retry_run(history, plan_retry(history, history.find("last")), 1)


def test_each_item_begins_where_the_last_run_ended_on_any_machine(
    here: Any, shops: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = shops(queue="advance")
    here.start("--queue", "advance")
    known.write(a=[1, 2], b=[5], c=[])
    done = run_flow(known.flow())
    assert cursor(done) == CursorStatus("stored", items=CursorCounts(2, 1, 0))
    assert known.stored() == {"a": 2, "b": 5}
    assert known.calls() == ["a 0", "b 0", "c 0"]

    # Another machine carries the run, and another worker does the step.
    monkeypatch.setenv("FLOWTOY_HOME", str(here.folder / "second carrier"))
    here.workers[-1].end()
    here.start("--queue", "advance")
    known.write(a=[3], b=[], c=[7])
    done = run_flow(known.flow("cdba"))
    assert not done.success
    known.write(d=[4])
    done = again()
    assert cursor(done) == CursorStatus("stored", items=CursorCounts(3, 1, 0))
    assert known.calls() == ["c 0", "d 0", "b 5", "a 2", "d 0"]
    assert known.stored() == {"a": 3, "b": 5, "c": 7, "d": 4}
    assert known.loaded() == {1, 2, 3, 4, 5, 7}
    for worker in here.workers:
        assert not (worker.home / "flowtoy-state").exists()


def test_values_are_stored_when_all_of_the_run_has_succeeded(
    here: Any, shops: Callable[..., Any]
) -> None:
    known = shops(queue="commit")
    here.start("--queue", "commit")
    known.write(a=[1], b=[2], c=[3])
    done = run_flow(known.flow(load="test -e works"))
    assert cursor(done) == CursorStatus("held", "'load' failed", items=CursorCounts(0, 0, 3))
    assert known.stored() == {}
    assert known.calls() == ["a 0", "b 0", "c 0"]
    # What comes meanwhile is not in what the retry loads, and not behind what it stores.
    known.write(a=[1, 9], b=[2, 9], c=[3, 9])
    (known.folder / "works").touch()
    done = again()
    assert cursor(done) == CursorStatus("stored", items=CursorCounts(3, 0, 0))
    assert known.calls() == []
    assert (known.stored(), known.loaded()) == ({"a": 1, "b": 2, "c": 3}, {1, 2, 3})

    known.write(a=[9], b=[9], c=[9])
    done = run_flow(known.flow(load="false", commit="step"))
    assert cursor(done) == CursorStatus("stored", items=CursorCounts(3, 0, 0))
    assert known.stored() == {"a": 9, "b": 9, "c": 9}


@pytest.mark.timeout(500)
def test_an_item_whose_worker_is_killed_is_read_again_and_no_other_one_is(
    here: Any, shops: Callable[..., Any]
) -> None:
    known = shops(queue="killed")
    known.write(a=[1, 2], b=[3, 4], c=[5, 6])
    # First the process of the step is killed, and then the worker that has started it.
    kill = "kill -9 $(ps -o ppid= -p $PPID)"
    known.before("b", f"test -e once || {{ touch once; {kill}; sleep 60; }}")
    known.before("c", "test -e both || { touch waits; until test -e both; do sleep 0.05; done; }")
    first = here.start("--queue", "killed")
    done: list[FlowRun] = []
    run = threading.Thread(target=lambda: done.append(run_flow(known.flow())))
    run.start()
    here.wait_until((known.folder / "waits").exists, "the last item")
    first.process.kill()
    second = here.start("--queue", "killed")
    second.wait_for("takes step 'rows'")
    here.wait_until(lambda: (known.folder / "calls").read_text().count("c 0") == 2, "c")
    assert known.stored() == {}
    (known.folder / "both").touch()
    run.join()
    assert done[0].success, [step.error for step in done[0].status.steps.values()]
    assert cursor(done[0]) == CursorStatus("stored", items=CursorCounts(3, 0, 0))
    assert known.calls() == ["a 0", "b 0", "b 0", "c 0", "c 0"]
    assert known.stored() == {"a": 2, "b": 4, "c": 6}
    assert known.loaded() == {1, 2, 3, 4, 5, 6}


def test_a_run_whose_process_is_killed_stores_nothing_and_a_retry_reads_no_item_twice(
    here: Any, shops: Callable[..., Any]
) -> None:
    known = shops(queue="run")
    here.start("--queue", "run")
    known.write(a=[1], b=[2], c=[3])
    waits = "{ test -e go || { touch waits; sleep 600; }; }"
    pid = os.fork()
    if pid == 0:
        os.setsid()
        run_flow(known.flow(load=waits))
        os._exit(0)
    here.wait_until((known.folder / "waits").exists, "the step that loads")
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert known.stored() == {}
    assert known.calls() == ["a 0", "b 0", "c 0"]
    (known.folder / "go").touch()
    known.write(a=[1, 9], b=[2, 9], c=[3, 9])
    done = again()
    assert done.success, [step.error for step in done.status.steps.values()]
    assert known.calls() == []
    assert (known.stored(), known.loaded()) == ({"a": 1, "b": 2, "c": 3}, {1, 2, 3})


@pytest.mark.parametrize("signals", [1, 2])
@pytest.mark.timeout(500)
def test_a_worker_that_is_to_end_loses_no_item_and_reads_none_again_that_was_read(
    here: Any, shops: Callable[..., Any], signals: int
) -> None:
    # The first signal lets the loop go on to its end; the second one hands on what is left of it.
    known = shops(queue=f"ending{signals}", concurrency=2)
    known.write(a=[1, 2], b=[3, 4], c=[5, 6], d=[7])
    known.hold("bc")
    first = here.start("--queue", known.queue)
    done: list[FlowRun] = []
    run = threading.Thread(target=lambda: done.append(run_flow(known.flow("abcd"))))
    run.start()
    for shop in "bc":
        here.wait_until((known.folder / f"waits-{shop}").exists, shop)
    first.signal(signal.SIGTERM)
    first.wait_for("takes no more steps; 1 still run")
    second = here.start("--queue", known.queue)
    if signals == 2:
        first.signal(signal.SIGTERM)
        second.wait_for("takes step 'rows'")
    (known.folder / "go").touch()
    run.join()
    assert done[0].success, [step.error for step in done[0].status.steps.values()]
    assert first.process.wait(here.patience) == 0
    assert ("was ended by a second signal" in first.log) == (signals == 2)
    assert "takes step 'load'" in second.log
    assert done[0].status.steps["rows"].attempt == signals
    assert cursor(done[0]) == CursorStatus("stored", items=CursorCounts(4, 0, 0))
    assert sorted(known.calls()) == sorted(["a 0", *["b 0", "c 0"] * signals, "d 0"])
    assert known.stored() == {"a": 2, "b": 4, "c": 6, "d": 7}
    assert known.loaded() == {1, 2, 3, 4, 5, 6, 7}
