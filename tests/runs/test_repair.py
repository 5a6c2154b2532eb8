"""Runs whose process is gone or can't be seen: looking, repairing, cancelling, going on."""

from __future__ import annotations

import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._utils.error import serializable_error_info_from_exc_info

from flowtoy_dagster import RunError, UsageError, run_flow
from flowtoy_dagster.engine.storage.run_clock import CLOCK_TAG, clock_tag
from flowtoy_dagster.runs.cancel import cancel_run
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.prune import prune_runs
from flowtoy_dagster.runs.repair import repair_all, repair_run
from flowtoy_dagster.runs.retry import ended, plan_retry
from flowtoy_dagster.runs.sessions.carriers import CLOSED_UNSEEN, INTERRUPTED, SESSION_TAG
from flowtoy_dagster.runs.sessions.sessions import session_id

pytestmark = pytest.mark.usefixtures("made_home")

FLOW = {
    "name": "a flow",
    "runner": {"executor": "in_process"},
    "flow": [{"name": "ok", "source": {"type": "env", "vars": ["HOME"]}}],
}
MINE = session_id()
DEAD = MINE.rpartition("/")[0] + "/1"
UNSEEN = "one/machine/another-boot/1-2/17/4711"


@pytest.fixture(scope="module")
def home_with_a_run(tmp_path_factory: pytest.TempPathFactory, databases: Path) -> Path:
    """A home with one run that has succeeded, to be copied."""
    home = tmp_path_factory.mktemp("one-run") / "home"
    run_flow(FLOW, home=home)
    return home


@pytest.fixture
def history(home: Path, home_with_a_run: Path) -> Any:
    """A copy of the home with a run."""
    for name in ("history", "schedules", "storage", "flowtoy-configs"):
        shutil.copytree(home_with_a_run / name, home / name, dirs_exist_ok=True)
    with History(home) as opened:
        yield opened


@pytest.fixture
def add(history: History) -> Callable[..., str]:
    """Adds a run that a session carries and that has not ended; gives its id."""
    before = history.find("last")

    def add_run(session: str, status: str = "STARTED") -> str:
        run_id = str(uuid.uuid4())
        tags = {**before.tags, SESSION_TAG: f"{session}/{run_id}"}
        state = dg.DagsterRunStatus[status]
        history.instance.add_run(before._replace(run_id=run_id, status=state, tags=tags))
        return run_id

    return add_run


def stored(history: History, run_id: str) -> str:
    run = history.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status.value


def test_looking_shows_what_is_certain_and_writes_nothing(
    history: History, add: Callable[..., str]
) -> None:
    dead, unseen, live = add(DEAD), add(UNSEEN), add(MINE)
    events = {run: len(history.instance.all_logs(run)) for run in (dead, unseen, live)}
    shown = {run.run_id: run.state for run in history.runs()}
    assert (shown[dead], shown[unseen], shown[live]) == ("failed", "running", "running")
    assert history.status(history.find(dead)).error == INTERRUPTED
    for run_id, count in events.items():
        assert stored(history, run_id) == "STARTED"
        assert len(history.instance.all_logs(run_id)) == count


def test_repair_closes_what_is_certain_and_names_a_way_for_the_rest(
    history: History, add: Callable[..., str]
) -> None:
    dead, canceling, unseen, live = add(DEAD), add(DEAD, "CANCELING"), add(UNSEEN), add(MINE)
    lines = list(repair_all(history))
    assert len(lines) == 3
    states = [stored(history, run) for run in (dead, canceling, unseen, live)]
    assert states == ["FAILURE", "CANCELED", "STARTED", "STARTED"]
    (left,) = [line for line in lines if line.startswith("left as it is")]
    assert "process 17 on one" in left
    assert f"flowtoy runs repair {unseen[:8]}" in left
    assert history.status(history.find(dead)).error == INTERRUPTED
    (again,) = repair_all(history)
    assert again == left


@pytest.mark.parametrize("close", ["repair", "retry"])
def test_a_run_is_closed_at_the_time_when_it_was_last_heard_of(
    history: History, add: Callable[..., str], close: str
) -> None:
    # home.md; also where the run's own clock is known, as it is until the machine starts again
    run_id = add(DEAD)
    history.instance.add_run_tags(run_id, {CLOCK_TAG: clock_tag(run_id)})
    run, heard = history.find(run_id), time.time() - 3600
    sign = dg.DagsterEvent(
        "ENGINE_EVENT", run.job_name, message="a sign of life",
        event_specific_data=EngineEventData({}),
    )
    history.instance.report_dagster_event(sign, run_id, timestamp=heard)
    if close == "repair":
        list(repair_all(history))
    else:
        ended(history, run, only_look=False)
    (closed,) = (each for each in history.runs() if each.run_id == run_id)
    assert closed.state == "failed"
    assert closed.ended_at == pytest.approx(heard, abs=0.01)
    assert history.status(history.find(run_id)).ended_at == pytest.approx(heard, abs=0.01)


def test_a_run_that_could_not_begin_says_why(history: History, add: Callable[..., str]) -> None:
    # As Dagster stores what its executor raised: -1 as the number of steps at once, for example.
    run = history.find(add(MINE))
    try:
        raise UsageError("max_concurrent must be at least 1, got -1")
    except UsageError:
        error = serializable_error_info_from_exc_info(sys.exc_info())
    told = "An exception was thrown during execution that is likely a framework error."
    history.instance.report_engine_event(told, run, EngineEventData.engine_error(error))
    history.instance.report_run_failed(run)
    status = history.status(history.find(run.run_id))
    assert (status.state, status.error) == ("failed", "max_concurrent must be at least 1, got -1")
    assert "max_concurrent must be at least 1" in (status.steps["ok"].error or "")


def test_a_run_that_cannot_be_seen_is_closed_on_the_user_s_word(
    history: History, add: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = add(UNSEEN)
    with pytest.raises(UsageError, match=f"flowtoy runs repair {run_id[:8]}"):
        plan_retry(history, history.find(run_id))
    monkeypatch.setattr("flowtoy_dagster.runs.cancel.PATIENCE", 0.2)
    with pytest.raises(RunError, match=f"flowtoy runs repair {run_id[:8]}") as told:
        cancel_run(history, history.find(run_id))
    assert "it was asked to end, and has not within 0 s" in str(told.value)
    with pytest.raises(UsageError, match=f"flowtoy runs repair {run_id[:8]}"):
        repair_run(history, history.find(run_id), is_named=False)
    assert stored(history, run_id) == "STARTED"
    assert "stored as failed" in repair_run(history, history.find(run_id), is_named=True)
    assert history.status(history.find(run_id)).error == CLOSED_UNSEEN
    assert list(plan_retry(history, history.find(run_id)).reasons) == ["ok"]
    with pytest.raises(UsageError, match="has ended already"):
        repair_run(history, history.find(run_id), is_named=True)


def test_a_run_that_others_launched_has_a_way_out_too(
    history: History, add: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = history.find(add(MINE))
    launched = run._replace(run_id=str(uuid.uuid4()))  # with the session of another run
    history.instance.add_run(launched)
    monkeypatch.setattr("flowtoy_dagster.runs.cancel.PATIENCE", 0.2)
    for close in (
        lambda: plan_retry(history, launched),
        lambda: repair_run(history, launched, is_named=True),
        lambda: cancel_run(history, launched),
    ):
        with pytest.raises((RunError, UsageError), match="'Force termination immediately'"):
            close()


def test_a_run_that_goes_on_is_neither_repaired_nor_retried(
    history: History, add: Callable[..., str]
) -> None:
    run = history.find(add(MINE))
    with pytest.raises(UsageError, match="goes on; `flowtoy cancel"):
        repair_run(history, run, is_named=True)
    with pytest.raises(UsageError, match="has not ended; flowtoy cancel ends it"):
        plan_retry(history, run)
    assert stored(history, run.run_id) == "STARTED"


@pytest.mark.parametrize("way", ["repair", "retry", "cancel"])
def test_a_closed_run_ended_when_it_was_last_heard_of(
    way: str, history: History, add: Callable[..., str]
) -> None:
    run_id = add(DEAD)
    run = history.find(run_id)
    begun = 1_700_000_000.0
    event = dg.DagsterEvent("PIPELINE_START", run.job_name)
    history.instance.report_dagster_event(event, run_id, timestamp=begun)
    logs: Any = history.instance.compute_log_manager
    printed = Path(logs.get_captured_local_path([run_id, "compute_logs", "ok"], "out"))
    printed.parent.mkdir(parents=True)
    printed.touch()
    os.utime(printed, (begun + 60, begun + 60))
    if way == "repair":
        repair_run(history, run, is_named=True)
    elif way == "retry":
        plan_retry(history, run)
    else:
        cancel_run(history, run)
    status = history.status(history.find(run_id))
    assert (status.started_at, status.ended_at) == (begun, begun + 60)
    (summary,) = [one for one in history.runs() if one.run_id == run_id]
    assert summary.ended_at == begun + 60


def test_a_retry_goes_on_from_a_run_whose_process_is_gone(
    history: History, add: Callable[..., str]
) -> None:
    run_id = add(DEAD)
    assert list(plan_retry(history, history.find(run_id)).reasons) == ["ok"]
    assert stored(history, run_id) == "FAILURE"


def test_cancelling_a_run_whose_process_is_gone_closes_it_as_cancelled(
    history: History, add: Callable[..., str]
) -> None:
    run_id = add(DEAD)
    cancel_run(history, history.find(run_id))
    assert stored(history, run_id) == "CANCELED"


def test_a_run_that_ended_by_itself_is_not_called_cancelled(
    history: History, add: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = history.find(add(MINE))

    def end_first(pid: int, number: int) -> None:
        if number and not history.instance.get_run_by_id(run.run_id).is_finished:  # type: ignore[union-attr]
            history.instance.handle_run_event(
                run.run_id, dg.DagsterEvent("PIPELINE_SUCCESS", run.job_name)
            )

    # the signal arrives when the run has just ended
    monkeypatch.setattr(os, "kill", end_first)
    with pytest.raises(RunError, match="succeeded before it could be cancelled"):
        cancel_run(history, run)
    assert stored(history, run.run_id) == "SUCCESS"


def test_an_interrupted_run_is_pruned_and_one_that_cannot_be_seen_is_kept(
    history: History, add: Callable[..., str]
) -> None:
    dead, unseen, live = add(DEAD), add(UNSEEN), add(MINE)
    assert dead in prune_runs(history, 0)
    assert {run.run_id for run in history.runs()} == {unseen, live}


def test_slots_of_pools_are_taken_from_the_dead_alone(
    history: History, add: Callable[..., str]
) -> None:
    storage = history.instance.event_log_storage
    storage.set_concurrency_slots("crane", 2)
    dead, unseen = add(DEAD), add(UNSEEN)
    for run_id in (dead, unseen):
        assert storage.claim_concurrency_slot("crane", run_id, "ok").is_claimed
    history.runs()
    assert storage.get_concurrency_info("crane").active_slot_count == 2
    steps = [{**FLOW["flow"][0], "pool": "crane"}]  # type: ignore[dict-item]
    assert run_flow({**FLOW, "flow": steps}).success
    assert {slot.run_id for slot in storage.get_concurrency_info("crane").claimed_slots} == {unseen}
