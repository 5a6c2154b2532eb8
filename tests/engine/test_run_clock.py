"""The clock of a run: the machine's when the run was made."""

from __future__ import annotations

import time

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.storage import run_clock
from flowtoy_dagster.engine.storage.run_clock import CLOCK_TAG, clock_tag, offset_of, run_time
from flowtoy_dagster.runs.history import History

FLOW = {
    "runner": {"executor": "in_process", "timeout": "30m"},
    "flow": [
        {"name": name, "source": {"type": "process"}, "input": {"command": "true"}}
        for name in ("a", "b")
    ],
}


@pytest.mark.parametrize("jump", [3600, -3600])
def test_what_is_stored_of_a_run_keeps_to_one_clock(
    jump: int, made_home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time

    def set_clock(_: object) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + jump)

    before = real()
    done = run_flow(FLOW, 1, on_created=set_clock)
    assert done.success  # not "the run's timeout has passed"
    monkeypatch.setattr(time, "time", real)
    with History() as history:
        run = history.find("last")
        status = history.status(run)
        (summary,) = history.runs()
        stamps = [entry.timestamp for entry in history.instance.all_logs(run.run_id)]
    assert stamps == sorted(stamps)
    for part in (status, summary, *status.steps.values()):
        assert part.started_at is not None
        assert part.ended_at is not None
        assert before <= part.started_at <= part.ended_at <= real()


def test_a_runs_clock_is_known_where_its_monotonic_clock_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tags = {CLOCK_TAG: clock_tag("one")}
    offset = offset_of(tags, "one")
    if not run_clock.monotonic_place():
        assert offset is None  # a system that does not say when it was started
        return
    assert offset == pytest.approx(time.time() - time.monotonic(), abs=1)
    assert run_time(tags, "one") == pytest.approx(offset + time.monotonic(), abs=1)
    assert offset_of(tags, "a re-execution of it") is None
    assert offset_of({CLOCK_TAG: f"x/{run_clock.monotonic_place()}/one"}, "one") is None
    assert offset_of({}, "one") is None
    monkeypatch.setattr(run_clock, "monotonic_place", lambda: "another start of the machine")
    assert offset_of(tags, "one") is None
    assert run_time(tags, "one") == pytest.approx(time.time(), abs=1)
