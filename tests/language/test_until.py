"""Steps that are called again until they are done (language 19.4)."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.errors import RunInterrupted
from flowtoy_dagster.runs.status.models import Change

Serve = Callable[..., str]

PATIENCE = 120.0


class Reports:
    """A server whose report is done when it was asked for so often."""

    def __init__(self, serve: Serve) -> None:
        self.done_after = 3
        self.calls: list[float] = []
        self.statuses: dict[int, int] = {}
        self.url = f"{serve(self._reply)}/"

    def _reply(self, _: object) -> tuple[int, dict[str, str], bytes]:
        self.calls.append(time.monotonic())
        count = len(self.calls)
        done = count >= self.done_after
        found = {"status": "done"} if done else {"status": "busy"}
        body = json.dumps({**found, **({"rows": count} if done else {})}).encode()
        return self.statuses.get(count, 200), {"Content-Type": "application/json"}, body

    def flow(self, executor: str = "in_process", **step: Any) -> dict[str, Any]:
        return {
            "flow": [
                {
                    "name": "report",
                    "source": {"type": "rest", "url": self.url, "timeout": 120},
                    "until": "result.status == 'done'",
                    "every": "20ms",
                    # Nothing that the answer has before it is done.
                    "output": [{"name": "rows", "value": "{{ result.rows }}"}],
                    **step,
                }
            ],
            "runner": {"executor": executor},
        }


@pytest.fixture
def reports(serve: Serve, made_home: Path) -> Reports:
    return Reports(serve)


# language 19.4
@pytest.mark.parametrize("executor", ["in_process", "warm", "multiprocess"])
def test_a_call_that_is_not_done_is_no_failure_and_no_attempt(
    executor: str, reports: Reports
) -> None:
    done = run_flow(reports.flow(executor))
    assert done.success, [step.error for step in done.status.steps.values()]
    assert done.outputs == {"report": {"rows": 3}}
    assert done.status.steps["report"].attempt == 1
    assert len(reports.calls) == 3


# language 19.4, 10.1
def test_a_failed_call_is_an_attempt_as_ever(reports: Reports) -> None:
    reports.statuses = {2: 503}
    failed = run_flow(reports.flow())
    assert not failed.success
    assert len(reports.calls) == 2
    reports.calls.clear()
    done = run_flow(reports.flow(retry={"max": 1, "delay": 0}))
    assert done.success
    assert done.status.steps["report"].attempt == 2
    assert len(reports.calls) == 3


# language 19.4
def test_a_step_that_is_not_done_in_time_fails_and_is_not_tried_again(reports: Reports) -> None:
    reports.done_after = 10**9
    done = run_flow(reports.flow(**{"for": "300ms", "retry": 5}))
    step = done.status.steps["report"]
    assert (step.error, step.attempt) == ("was not done after 0.3 s", 1)
    assert len(reports.calls) > 1


# language 19.4
@pytest.mark.parametrize("done_after", [2, 3])
def test_when_the_time_for_it_has_passed_one_last_call_is_made(
    done_after: int, reports: Reports
) -> None:
    reports.done_after = done_after
    done = run_flow(reports.flow(every="1h", **{"for": "300ms"}))
    assert len(reports.calls) == 2
    assert done.success == (done_after == 2)


# language 19.4
def test_the_timeout_is_of_one_call(reports: Reports) -> None:
    reports.done_after = 4
    # All calls together take longer than one of them may.
    done = run_flow(reports.flow(every="400ms", timeout="1s"))
    assert done.success, done.status.steps["report"].error
    assert reports.calls[-1] - reports.calls[0] >= 1.2


# language 19.4
def test_the_end_of_the_run_ends_a_wait(reports: Reports) -> None:
    reports.done_after = 10**9
    flow = reports.flow(every="1h")
    flow["runner"]["timeout"] = "2s"
    done = run_flow(flow)
    assert done.status.steps["report"].error == "the run's timeout has passed"


# language 19.4
@pytest.mark.parametrize("executor", ["in_process", "warm"])
def test_cancelling_ends_a_wait_at_once(executor: str, reports: Reports) -> None:
    reports.done_after = 10**9
    shown = threading.Event()
    seen: list[str] = []

    def note(change: Change) -> None:
        if change.step.waits_for:
            seen.append(change.step.waits_for)
            shown.set()

    def cancel() -> None:
        deadline = time.monotonic() + PATIENCE
        while not reports.calls and time.monotonic() < deadline:
            time.sleep(0.01)
        shown.wait(PATIENCE if executor == "warm" else 0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=cancel, daemon=True).start()
    with pytest.raises(RunInterrupted):
        run_flow(reports.flow(executor, every="1h"), on_change=note)
    assert len(reports.calls) == 1
    if executor == "warm":
        assert seen == ["is not done after 1 call, asks again every 1 h"]


# language 19.4, 19.5
def test_each_call_waits_for_its_turn_and_the_time_for_all_goes_on(
    reports: Reports, write: Callable[..., Path]
) -> None:
    reports.done_after = 10**9
    flow = reports.flow(source="api", **{"for": "700ms"})
    flow["sources"] = {"api": {"type": "rest", "url": reports.url, "timeout": 120, "rate": "1/h"}}
    done = run_flow(flow)
    assert done.status.steps["report"].error == "was not done after 0.7 s"
    assert len(reports.calls) == 1


# language 19.4, 13.1
def test_what_a_condition_gives_is_masked(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPORT_TOKEN", "hidden-value-1")
    done = run_flow(reports.flow(until="env.REPORT_TOKEN"))
    assert done.status.steps["report"].error == "until: expected true or false, got '***'"


# language 19.4, 18.7
def test_each_item_is_called_until_it_is_done(reports: Reports) -> None:
    flow = reports.flow(
        for_each={"in": [1, 2, 3], "as": "wanted", "concurrency": 3},
        until="result.status == 'done' and wanted > 0",
    )
    done = run_flow(flow)
    assert done.success, [step.error for step in done.status.steps.values()]
    assert done.outputs is not None
    assert len(done.outputs["report"]["rows"]) == 3
    assert len(reports.calls) >= 5


# language 19.4, 19.5
def test_what_the_first_call_waits_for_its_turn_does_not_count_for_its_limit(
    reports: Reports,
) -> None:
    reports.done_after = 1
    flow = reports.flow(source="reports", depends_on="before", **{"for": "100ms"})
    flow["sources"] = {"reports": {"type": "rest", "url": reports.url, "rate": "30/m"}}
    flow["flow"].insert(0, {"name": "before", "source": "reports"})
    done = run_flow(flow)
    assert done.success, [step.error for step in done.status.steps.values()]
    assert len(reports.calls) == 2


# language 19.4
def test_the_next_attempt_counts_the_limit_anew(reports: Reports) -> None:
    reports.done_after, reports.statuses = 4, {2: 503}
    # By the time of the second attempt the limit of the first one has passed.
    done = run_flow(reports.flow(retry={"max": 1, "delay": 3.5}, **{"for": "3s"}))
    assert done.success, [step.error for step in done.status.steps.values()]
    assert done.status.steps["report"].attempt == 2
    assert len(reports.calls) == 4
