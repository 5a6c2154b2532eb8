"""Loops whose items have cursors, on workers behind a broker."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry, retry_run
from flowtoy_dagster.runs.status.models import CursorStatus
from flowtoy_dagster.steps.state.cursors import CursorCounts

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")

# language 22.6


@pytest.mark.parametrize("name", ["redis"])
def test_items_keep_their_cursors_when_a_process_is_killed_and_a_run_is_retried(
    deployments: Any, carried: Any, shops: Callable[..., Any], name: str
) -> None:
    known = shops(executor=carried(deployments(name)).executor)
    known.write(a=[1, 2], b=[3, 4], c=[5, 6])
    kill = "kill -9 $(ps -o ppid= -p $PPID)"
    known.before("b", f"test -e once || {{ touch once; {kill}; sleep 60; }}")
    done = run_flow(known.flow(load="test -e works"))
    assert done.status.steps["rows"].attempt == 2
    assert done.status.steps["rows"].cursor == CursorStatus(
        "held", "'load' failed", items=CursorCounts(0, 0, 3)
    )
    assert known.calls() == ["a 0", "b 0", "b 0", "c 0"]
    assert known.stored() == {}

    (known.folder / "works").touch()
    with History() as history:
        done = retry_run(history, plan_retry(history, history.find("last")), 1)
    assert done.success, [step.error for step in done.status.steps.values()]
    assert known.calls() == []
    assert known.stored() == {"a": 2, "b": 4, "c": 6}

    known.write(a=[7], b=[4])
    done = run_flow(known.flow("ab"))
    assert done.status.steps["rows"].cursor == CursorStatus("stored", items=CursorCounts(1, 1, 0))
    assert known.calls() == ["a 2", "b 4"]
    assert known.stored() == {"a": 7, "b": 4, "c": 6}
    assert known.loaded() == {1, 2, 3, 4, 5, 6, 7}


@pytest.mark.parametrize("name", ["redis"])
def test_a_second_signal_to_a_worker_hands_on_what_is_left_of_a_loop(
    deployments: Any, carried: Any, shops: Callable[..., Any], name: str
) -> None:
    deployment = carried(deployments(name))
    known = shops(executor=deployment.executor, queue="hands-on", concurrency=2)
    known.write(a=[1], b=[2], c=[3], d=[4])
    known.hold("bc")
    first = deployment.start("hands-on")
    done: list[Any] = []
    run = threading.Thread(target=lambda: done.append(run_flow(known.flow("abcd"))))
    run.start()
    for shop in "bc":
        deployment.machines.wait_until((known.folder / f"waits-{shop}").exists, shop)
    first.signal(signal.SIGTERM)
    first.wait_for("takes no more steps; 1 still run")
    first.signal(signal.SIGTERM)
    (known.folder / "go").touch()
    second = deployment.start("hands-on")
    run.join()
    assert done[0].success, [step.error for step in done[0].status.steps.values()]
    assert "was ended by a second signal" in first.log
    assert "takes step 'rows'" in second.log
    assert done[0].status.steps["rows"].attempt == 2
    assert known.calls().count("a 0") == 1
    assert known.stored() == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert known.loaded() == {1, 2, 3, 4}
    assert second.end() == 0
