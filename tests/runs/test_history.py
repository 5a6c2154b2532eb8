"""What a home remembers of its runs: finding, reading and forgetting them."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowtoy_dagster import RunError, UsageError, load_flow, run_flow
from flowtoy_dagster.doctor.home import examine_database
from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.prune import prune_runs
from flowtoy_dagster.runs.run import finished_run
from flowtoy_dagster.runs.sessions.carriers import INTERRUPTED, SESSION_TAG
from flowtoy_dagster.runs.sessions.sessions import session_id
from flowtoy_dagster.runs.wanted.filters import WantedRuns

pytestmark = pytest.mark.usefixtures("made_home")

OK = {"name": "ok", "source": {"type": "env", "vars": ["HOME"]}, "output": [{"name": "all"}]}
SAYS = {"name": "says", "source": "process", "input": {"command": ["echo", "a line"]}}
BAD = {"name": "bad", "source": "process", "depends_on": "ok",
       "input": {"command": ["sh", "-c", "echo alas >&2; exit 5"]}}


def run_steps(*steps: dict[str, Any], name: str = "a flow") -> Any:
    return run_flow({"name": name, "runner": {"executor": "in_process"}, "flow": list(steps)})


def a_dead_session() -> str:
    """This process as it would be told apart from one that had its number before."""
    mine, _, start = session_id().rpartition("/")
    return f"{mine}/{int(start) - 1}"


@pytest.fixture
def unfinished(home: Path) -> Callable[..., str]:
    """Adds a run to the home that is under way in some process; gives its id."""

    def add(session: str, status: str = "STARTED") -> str:
        run_id = run_steps(OK).run_id
        with dg.DagsterInstance.from_config(str(home)) as instance:
            before = instance.get_run_by_id(run_id)
            assert before is not None
            own_id = str(uuid.uuid4())
            run = instance.add_run(
                before._replace(
                    run_id=own_id,
                    status=dg.DagsterRunStatus[status],
                    tags={**before.tags, SESSION_TAG: f"{session}/{own_id}"},
                )
            )
            return run.run_id

    return add


def test_runs_are_listed_the_newest_first() -> None:
    first = run_steps(OK, name="first")
    second = run_steps(OK, BAD, name="second")
    with History() as history:
        listed = history.runs()
        assert [(r.run_id, r.name, r.state) for r in listed] == [
            (second.run_id, "second", "failed"), (first.run_id, "first", "succeeded"),
        ]
        for summary in listed:
            assert summary.started_at is not None
            assert summary.ended_at is not None
            assert summary.ended_at >= summary.started_at
            assert summary.retry_of is None
        assert [r.run_id for r in history.runs(limit=1)] == [second.run_id]


def test_a_run_is_found_by_its_id_its_beginning_or_as_the_last() -> None:
    first, second = run_steps(OK), run_steps(OK)
    with History() as history:
        assert history.find(first.run_id).run_id == first.run_id
        assert history.find("last").run_id == second.run_id
        pairs = list(zip(first.run_id, second.run_id, strict=True))
        differs = next(index for index, (one, other) in enumerate(pairs) if one != other)
        shared = first.run_id[:differs]
        assert history.find(first.run_id[: len(shared) + 1]).run_id == first.run_id
        assert history.find(first.run_id[:20]).run_id == first.run_id
        if shared:
            with pytest.raises(UsageError, match=f"several runs begin with '{shared}'"):
                history.find(shared)
        with pytest.raises(UsageError, match=r"there is no run 'nope'\n    flowtoy runs lists"):
            history.find("nope")


def test_runs_are_chosen_by_flow_state_and_time(unfinished: Callable[..., str]) -> None:
    good, bad = run_steps(OK, name="good"), run_steps(OK, BAD, name="bad")
    dead = unfinished(a_dead_session())
    later = run_steps(OK, name="good")
    with History() as history:
        for wanted, ids in [
            (WantedRuns(flow="bad"), [bad.run_id]),
            (WantedRuns(flow="nope"), []),
            # The process of one is gone: it has failed, as it is shown.
            (WantedRuns(state="failed"), [dead, bad.run_id]),
            (WantedRuns(state="running"), []),
            (WantedRuns("good", "succeeded"), [later.run_id, good.run_id]),
            (WantedRuns(since=time.time() + 60), []),
            (WantedRuns(state="failed", since=time.time() - 3600), [dead, bad.run_id]),
        ]:
            assert [run.run_id for run in history.runs(wanted=wanted)] == ids, wanted
        assert [run.run_id for run in history.runs(1, WantedRuns(state="failed"))] == [dead]
        assert history.find("last").run_id == later.run_id
        assert history.find("failed").run_id == dead
        assert history.find("failed:bad").run_id == bad.run_id
        with pytest.raises(UsageError, match="there is no failed run of a flow 'good'"):
            history.find("failed:good")
        # A shell's variable that is not set names no run: `flowtoy cancel "last:$FLOW"`.
        for nothing in ("", "last:", "failed:"):
            with pytest.raises(UsageError, match=f"'{nothing}' names no run"):
                history.find(nothing)
        assert len(history.runs(wanted=WantedRuns(since=0.0))) == len(history.runs())
    with pytest.raises(UsageError, match=r"no state 'fialed'\n    did you mean 'failed'\?"):
        WantedRuns(state="fialed")


def test_in_a_new_home_there_is_no_last_run() -> None:
    with History() as history:
        assert history.runs() == []
        with pytest.raises(UsageError, match="there is no run yet"):
            history.find("last")


def test_the_status_of_a_run_that_has_ended_is_that_of_its_end() -> None:
    # runtime 6, language 12
    run = run_steps(OK, BAD)
    with History() as history:
        status = history.status(history.find(run.run_id))
    assert status.state == run.status.state == "failed"
    assert list(status.steps) == ["ok", "bad"]
    assert [step.state for step in status.steps.values()] == ["succeeded", "failed"]
    bad = status.steps["bad"]
    assert bad.error == "sh exited with code 5: alas"
    assert bad.stderr == "alas"
    assert bad.called == "sh (2 arguments)"
    assert bad.attempt == 1
    assert bad.depends_on == ("ok",)
    for name, step in run.status.steps.items():
        now = status.steps[name]
        assert (now.state, now.error, now.attempt) == (step.state, step.error, step.attempt)


def test_outputs_and_what_was_printed_stay_with_the_run() -> None:
    run = run_flow({"flow": [OK, SAYS]})
    with History() as history:
        found = history.find(run.run_id)
        flow = history.flow(found)
        again = finished_run(history, found, flow, history.status(found), Mask())
        assert again.outputs == run.outputs
        assert list(history.captured(found, "says")) == [("says", "stdout", b"a line\n")]
        assert list(history.captured(found, "ok")) == []


def test_the_flow_of_a_run_is_the_one_that_ran(write: Callable[..., Path]) -> None:
    # runtime 5
    path = write("flow: [{name: one, source: env}]")
    run = run_flow(path)
    before = load_flow(path)
    path.write_text("flow: [{name: two, source: env}]")
    with History() as history:
        flow = history.flow(history.find(run.run_id))
    assert flow.config == before.config
    assert flow.name == "flow"


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING", "STARTED"])
def test_a_run_whose_process_is_gone_is_shown_as_interrupted(
    status: str, unfinished: Callable[..., str]
) -> None:
    # runtime 10
    run_id = unfinished(a_dead_session(), status)
    with History() as history:
        run = history.find(run_id)
        shown = history.status(run)
        assert run.status.value == status, "who looks does not write"
        assert shown.state == "failed"
        assert shown.error is not None
        assert INTERRUPTED in shown.error
        assert shown.steps["ok"].state == "skipped"
        (listed,) = [r for r in history.runs() if r.run_id == run_id]
        assert listed.state == "failed"


def test_a_run_that_was_being_cancelled_is_shown_as_cancelled(
    unfinished: Callable[..., str],
) -> None:
    # runtime 9
    run_id = unfinished(a_dead_session(), "CANCELING")
    with History() as history:
        assert history.status(history.find(run_id)).state == "cancelled"


def test_a_run_that_goes_on_elsewhere_or_here_is_left_alone(
    unfinished: Callable[..., str],
) -> None:
    # runtime 10, 12
    elsewhere = unfinished("another-machine/boot/1/2")
    here = unfinished(session_id())
    with History() as history:
        assert history.status(history.find(elsewhere)).state == "running"
        assert history.status(history.find(here)).state == "running"
        assert prune_runs(history, 0) != []
        assert {run.run_id for run in history.runs()} == {elsewhere, here}


def test_a_run_that_inherited_the_tag_of_another_is_left_alone(home: Path) -> None:
    # runtime 11: a re-execution from the UI has its parent's tags, whose process is long gone
    run = run_steps(OK)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        before = instance.get_run_by_id(run.run_id)
        assert before is not None
        again = instance.add_run(
            before._replace(run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.STARTED)
        )
    with History() as history:
        assert history.status(history.find(again.run_id)).state == "running"


def test_pruning_forgets_all_of_the_old_runs(home: Path) -> None:
    old, kept = run_steps(OK, SAYS, name="old"), run_steps(OK, name="kept")
    assert list(home.rglob(f"*{old.run_id}*"))
    with History() as history:
        assert prune_runs(history, 5) == []
        assert prune_runs(history, 1) == [old.run_id]
        assert [run.run_id for run in history.runs()] == [kept.run_id]
        assert history.status(history.find("last")).state == "succeeded"
    left = [path for path in home.rglob("*") if old.run_id in str(path)]
    assert [path for path in left if path.is_file()] == []
    assert len(list((home / "flowtoy-configs").glob("*.json"))) == 1


def test_a_configuration_that_another_run_uses_is_kept(home: Path) -> None:
    run_steps(OK)
    kept = run_steps(OK)
    with History() as history:
        prune_runs(history, 1)
        assert history.flow(history.find(kept.run_id)).name == "a flow"


def test_a_run_without_its_configuration_is_a_clear_error(home: Path) -> None:
    run = run_steps(OK)
    for path in (home / "flowtoy-configs").iterdir():
        path.unlink()
    with History() as history, pytest.raises(RunError, match="the configuration of run"):
        history.flow(history.find(run.run_id))


def test_events_of_a_run_that_are_damaged_are_named_with_their_file(home: Path) -> None:
    run_id = run_steps(OK).run_id
    damaged = home / "history" / "runs" / f"{run_id}.db"
    damaged.write_bytes(b"\x95" * 4096)
    with History(home) as history:
        run = history.find("last")
        with pytest.raises(HomeError) as caught:
            history.status(run)
    assert str(caught.value) == f"the database {damaged} can't be read: file is not a database"


@pytest.mark.parametrize("what", ["gone", "empty"])
def test_of_a_run_whose_events_are_gone_that_is_said(
    what: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = run_steps(OK).run_id
    lost = home / "history" / "runs" / f"{run_id}.db"
    for path in lost.parent.glob(f"{lost.name}*"):
        path.unlink()
    if what == "empty":
        lost.touch()
    with History(home) as history:
        assert history.status(history.find("last")).state == "succeeded"
    assert caplog.messages == [
        f"the events of run {run_id} are gone: how its steps ended is not known"
    ]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Path.mkdir, "it is a folder"),
        (os.mkfifo, "it is no regular file"),
        (lambda path: path.symlink_to(path.name), "too many levels of symbolic links"),
    ],
    ids=["folder", "fifo", "itself"],
)
def test_settings_of_a_home_that_are_no_file_are_a_clear_error(
    make: Callable[[Path], None], told: str, home: Path
) -> None:
    run_steps(OK)
    settings = home / "dagster.yaml"
    settings.unlink()
    make(settings)
    with pytest.raises(HomeError) as caught:
        History(home)
    assert str(caught.value) == f"{settings} can't be used: {told}"
    faults = [health for health in examine_database() if health.state == "fault"]
    assert told in faults[0].text


def test_a_history_that_is_no_folder_is_named(home: Path) -> None:
    run_steps(OK)
    folder = home / "history" / "runs"
    shutil.rmtree(folder)
    folder.touch()
    with pytest.raises(HomeError, match=f"the history in {folder} can't be used: file exists"):
        History(home)


def test_what_a_step_printed_that_can_t_be_read_is_said(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_steps(SAYS)
    (printed,) = home.glob("storage/*/compute_logs/*.out")
    printed.unlink()
    printed.symlink_to(printed.name)
    with History(home) as history:
        assert list(history.captured(history.find("last"), "says")) == []
    assert "what 'says' has printed can't be read: " in caplog.text
