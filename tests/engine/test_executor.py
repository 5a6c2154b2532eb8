"""The warm executor does what Dagster's multiprocess executor does (runtime 4).

The first part runs a job on both and compares; its list is that of Dagster's own tests of the
multiprocess executor. The second part is what the warm executor adds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowtoy_dagster.engine.executors.warm import forked_off
from flowtoy_dagster.engine.executors.warm.forkserver_client import ForkServer, ForkServerError

HERE = Path(__file__).parent
FAILURES = {
    "failure": "no more paper",
    "exception": "ValueError: a wrong value",
    "sys_exits": "SystemExit: 4",
}
"""What ends a step but not its process, and what is told of it."""
DEATHS = {
    "exits": "that ran this step ended with exit code 3",
    "SIGKILL": "was killed by signal 9 (SIGKILL), perhaps because the machine ran out of memory",
    "SIGSEGV": "was killed by signal 11 (SIGSEGV): native code that the step used crashed",
}
"""What ends the process, and what the warm executor tells of it."""

Execute = Callable[..., Any]
Both = Callable[..., list[Any]]
WaitUntil = Callable[[Callable[[], bool], str], None]


@pytest.fixture
def both(execute: Execute) -> Both:
    """Runs a job on both executors, and compares the runs' ends and each step's events."""

    def run(
        name: str,
        *,
        folders: list[Path] | None = None,
        stock_config: dict[str, Any] | None = None,
        **options: Any,
    ) -> list[Any]:
        outcomes = []
        for number, executor in enumerate(("stock", "warm")):
            if folders is not None:
                options["folder"] = str(folders[number])
            config = stock_config if executor == "stock" else None
            outcomes.append(execute(name, executor, **{"config": config, **options}))
        stock, warm = outcomes
        assert warm.status == stock.status
        assert {k: _comparable(v) for k, v in warm.steps.items()} == {
            k: _comparable(v) for k, v in stock.steps.items()
        }
        return outcomes

    return run


def _comparable(kinds: list[str]) -> list[str]:
    """Without what Dagster leaves to chance: hooks are a set."""
    hooks = sorted(kind for kind in kinds if kind.startswith("HOOK_"))
    return [kind for kind in kinds if not kind.startswith("HOOK_")] + hooks


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """One for the run on each of the two executors."""
    found = [tmp_path / "stock", tmp_path / "warm"]
    for folder in found:
        folder.mkdir()
    return found


def test_a_diamond_passes_values_along_its_edges(both: Both) -> None:
    for outcome in both("diamond"):
        assert outcome.status == "SUCCESS"
        assert outcome.values == {"one": 1, "left": 2, "right": 2, "add": 4}
        spans = outcome.intervals
        assert spans["one"][1] <= min(spans["left"][0], spans["right"][0])
        assert max(spans["left"][1], spans["right"][1]) <= spans["add"][0]


def test_a_step_that_fails_leaves_its_dependents_unexecuted_and_the_others_go_on(
    both: Both,
) -> None:
    # runtime 8. Five processes die under two workers, so the dead ones are replaced.
    for outcome in both("failing", hows=[*FAILURES, *DEATHS]):
        assert outcome.status == "FAILURE"
        assert outcome.failed == {*FAILURES, *DEATHS}
        assert outcome.succeeded == {"beside", "beside_2"}
        assert not [key for key in outcome.steps if key.startswith("after")]
        for key, reason in FAILURES.items():
            assert reason in outcome.error(key)
    for key, reason in DEATHS.items():
        assert reason in outcome.error(key)
    assert "Steps failed: [" in outcome.run_error


def test_a_step_that_fails_at_first_is_tried_again(both: Both, folders: list[Path]) -> None:
    # runtime 7
    for outcome in both("retried", folders=folders):
        for key in ("raises_2", "asks_2", "crashes_2"):
            assert outcome.of_step(key).count("STEP_UP_FOR_RETRY") == 2
            assert outcome.of_step(key).count("STEP_RESTARTED") == 2
            assert outcome.values[key] == 2
            assert f"after_{key.removesuffix('_2')}" in outcome.succeeded
        for key in ("raises_9", "asks_9"):
            assert outcome.of_step(key).count("STEP_UP_FOR_RETRY") == 2
            assert outcome.of_step(key)[-1] == "STEP_FAILURE"
    for folder in folders:
        assert len(list(folder.glob("raises_9.*"))) == 3


def test_retries_can_be_disabled(both: Both, folders: list[Path]) -> None:
    disabled = {"retries": {"disabled": {}}}
    selected = ["raises_2", "asks_2"]
    for outcome in both("retried", folders=folders, config=disabled, op_selection=selected):
        assert outcome.failed == set(selected)
        assert not outcome.ended_by("STEP_UP_FOR_RETRY")


def test_what_depends_on_an_output_that_was_not_given_is_skipped(both: Both) -> None:
    for outcome in both("optional"):
        assert outcome.status == "SUCCESS"
        assert outcome.succeeded == {"chooses", "runs", "first", "second", "total"}
        assert outcome.ended_by("STEP_SKIPPED") == {"skipped", "skipped_too"}
        # An input that takes in several goes without what was skipped.
        assert outcome.values["total"] == 2


def test_a_selection_runs_alone(both: Both) -> None:
    for outcome in both("failing", hows=["exception"], op_selection=["beside", "beside_2"]):
        assert outcome.status == "SUCCESS"
        assert set(outcome.steps) == {"beside", "beside_2"}


def test_dynamic_outputs_are_mapped_and_collected(both: Both) -> None:
    for outcome in both("dynamic"):
        assert outcome.status == "SUCCESS"
        assert outcome.values == {"double[n1]": 2, "double[n2]": 4, "double[n3]": 6, "total": 12}


def test_a_resource_that_cannot_be_made_fails_the_steps_that_need_it(both: Both) -> None:
    for outcome in both("resource"):
        assert outcome.status == "FAILURE"
        assert outcome.failed == {"needs_it"}
        assert "the database is away" in outcome.error("needs_it")
        assert outcome.succeeded == {"one"}


def test_hooks_run(both: Both) -> None:
    for outcome in both("hooked"):
        told = [entry.user_message for entry in outcome.entries]
        assert "hooray for one" in told
        assert "alas, fails: a wrong value" in told


def test_no_more_steps_run_at_once_than_the_limit(both: Both) -> None:
    # language 10.5, runtime 4
    for outcome in both("wide", count=5, limit=2):
        assert outcome.status == "SUCCESS"
        assert outcome.most_at_once() <= 2


def test_as_many_steps_run_at_once_as_the_limit_allows(both: Both, folders: list[Path]) -> None:
    # Each of the three ends only when all have started.
    for outcome in both("together", count=3, limit=3, folders=folders):
        assert outcome.status == "SUCCESS"
        assert outcome.most_at_once() == 3


def test_limits_by_tag_hold(both: Both) -> None:
    limits = {"tag_concurrency_limits": [{"key": "database", "value": "one", "limit": 1}]}
    for outcome in both("wide", count=5, tagged=3, limit=4, config=limits):
        assert outcome.status == "SUCCESS"
        assert outcome.most_at_once(["step_0", "step_1", "step_2"]) == 1


def test_nothing_that_a_step_changes_in_its_process_reaches_the_next(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TO_BE_CHANGED", "as it was")
    monkeypatch.setenv("TO_BE_DELETED", "still here")
    # Dagster's fork server may be an earlier test's, with the environment of that time.
    fresh = {"start_method": {"spawn": {}}}
    outcomes = both("spoilt", folder=str(tmp_path), limit=1, stock_config=fresh)
    for outcome in outcomes:
        assert outcome.status == "SUCCESS"
        before, spoils, after = (outcome.seen[key] for key in ("before", "spoils", "after"))
        for key in before.keys() - {"pid"}:
            assert spoils[key] != before[key], key
            assert after[key] == before[key], key
        assert after["directory"] == os.getcwd()
        assert after["environment"]["TO_BE_CHANGED"] == "as it was"
        assert after["environment"]["TO_BE_DELETED"] == "still here"
        assert "SPOILT" not in after["environment"]
    # On the warm executor this is the work of the worker: all three were in one process.
    assert len({seen["pid"] for seen in outcomes[1].seen.values()}) == 1


INTERRUPTED = """
import json, sys
sys.path.insert(0, sys.argv[1])
import dagster as dg
from jobs_for_executors import job_of, run_config
executor, home, folder = sys.argv[2:]
with dg.DagsterInstance.from_config(home) as instance:
    job = job_of("waiting", executor, folder=folder)
    try:
        dg.execute_job(
            job, instance, run_config=run_config(executor, 2), raise_on_error=True
        )
    except BaseException as error:
        print(json.dumps(type(error).__name__))
"""


def interrupt(
    executor: str, instance: dg.DagsterInstance, folder: Path, wait_until: WaitUntil
) -> tuple[str, Any, list[int]]:
    """What a process that is interrupted in a run raises, its run, and the pids of its steps."""
    folder.mkdir()
    program = [sys.executable, "-c", INTERRUPTED, str(HERE), executor, instance.root_directory]
    process = subprocess.Popen(
        [*program, str(folder)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        steps = [folder / "first", folder / "second"]
        wait_until(lambda: all(path.exists() for path in steps), "both steps run")
        (run,) = instance.get_runs()
        instance.report_run_canceling(run)
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=200)
    finally:
        process.kill()
        process.wait()
    return json.loads(stdout), run, [int(path.read_text()) for path in steps]


@pytest.mark.parametrize("executor", ["stock", "warm"])
def test_an_interrupt_ends_the_steps_and_cancels_the_run(
    executor: str,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    wait_until: WaitUntil,
    processes: Callable[[], dict[int, int]],
) -> None:
    # runtime 9
    folder = tmp_path / executor
    raised, run, pids = interrupt(executor, instance, folder, wait_until)
    assert raised == "DagsterExecutionInterruptedError"
    assert (folder / "first.cleaned").exists()
    assert (folder / "second.cleaned").exists()
    wait_until(lambda: not processes().keys() & set(pids), "the steps' processes are gone")
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.CANCELED
    keys: dict[str, list[str]] = {}
    for entry in instance.all_logs(run.run_id):
        event = entry.dagster_event
        if event is not None and event.step_key:
            keys.setdefault(event.step_key, []).append(event.event_type_value)
    assert keys.keys() == {"first", "second"}
    assert all(kinds[-1] == "STEP_FAILURE" for kinds in keys.values())


# What the warm executor adds.


@pytest.mark.parametrize("then", ["go on", "crash"])
def test_a_run_goes_on_without_its_fork_server(execute: Execute, then: str) -> None:
    outcome = execute("serverless", "warm", then=then, limit=1)
    assert outcome.succeeded == {"kills_the_server", "next", "last"}
    assert outcome.failed == ({"dies"} if then == "crash" else set())


def test_a_module_that_cannot_be_preloaded_is_named_at_once() -> None:
    server = ForkServer.spawn(["no_such_module"], forked_off.ENTRY)
    with pytest.raises(ForkServerError, match="workers can't import 'no_such_module': ModuleNotF"):
        server.wait_until_ready()


def test_a_run_whose_workers_cannot_be_had_fails_and_says_why(
    execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forked_off, "PRELOAD", "no_such_module")
    outcome = execute("chain", "warm", count=1)
    assert outcome.status == "FAILURE"
    assert "workers can't import 'no_such_module': ModuleNotFoundError" in outcome.run_error
    assert outcome.succeeded == set()


def test_workers_are_children_of_a_fork_server_with_one_thread(
    execute: Execute, processes: Callable[[], dict[int, int]]
) -> None:
    seen = execute("wide", "warm", count=5, limit=2).values
    assert len(seen) == 5
    for facts in seen.values():
        assert facts["pid"] != os.getpid()
        assert facts["servers_parent"] == os.getpid()
        assert facts["servers_threads"] == 1
        assert facts["session"] == facts["server"]
        assert facts["siblings"] <= 2
    assert len({facts["pid"] for facts in seen.values()}) == 2
    # Nothing of the run is left when it has ended.
    pids = {facts[name] for facts in seen.values() for name in ("pid", "server")}
    assert not pids & processes().keys()


def test_a_worker_in_which_a_step_left_a_thread_is_replaced(execute: Execute) -> None:
    outcome = execute("threaded", "warm", limit=1)
    assert outcome.status == "SUCCESS"
    assert outcome.seen["leaves_a_thread"]["pid"] != outcome.seen["after"]["pid"]


def test_a_worker_is_replaced_after_a_number_of_steps(
    execute: Execute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The fork server imports this module last, so it has its say on the number.
    (tmp_path / "renew_soon.py").write_text(
        "import flowtoy_dagster.engine.executors.warm.preload\n"
        "from flowtoy_dagster.engine.executors.warm import worker as workers\n"
        "workers.STEPS_BEFORE_RENEWAL = 2\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(forked_off, "PRELOAD", "renew_soon")
    outcome = execute("chain", "warm", count=6, limit=1)
    assert outcome.status == "SUCCESS"
    pids = [outcome.values[f"follow_{number}"] for number in range(1, 6)]
    assert pids[1] == pids[2]
    assert pids[3] == pids[4]
    assert len(set(pids)) == 3


LATER = """
import os, sys
sys.path.insert(0, sys.argv[1])
os.environ["UNSET_LATER"] = "x"
from flowtoy_dagster.engine.executors.warm.forked_off import fork_off_server
fork_off_server()
os.environ["SET_LATER"] = "later"
del os.environ["UNSET_LATER"]
os.chdir(sys.argv[3])
import dagster as dg
from jobs_for_executors import job_of, run_config
with dg.DagsterInstance.from_config(sys.argv[2]) as instance:
    dg.execute_job(job_of("outside", "warm"), instance, run_config=run_config("warm", 1))
"""


def test_steps_see_the_environment_of_the_run_not_of_the_fork_server(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    place = [str(HERE), instance.root_directory, str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", LATER, *place], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    (run,) = instance.get_runs()
    values = [
        entry.dagster_event.step_output_data.metadata["value"].value
        for entry in instance.all_logs(run.run_id)
        if entry.dagster_event and entry.dagster_event.event_type_value == "STEP_OUTPUT"
    ]
    assert values == [[["later", None, str(tmp_path)]]]
