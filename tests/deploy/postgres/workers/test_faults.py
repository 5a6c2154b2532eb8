"""Workers that are killed, stopped or missing: no run hangs, and no history lies."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import psutil
import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.executors.remote import pool
from flowtoy_dagster.engine.executors.remote.database import Database
from flowtoy_dagster.engine.executors.remote.leases import Leases
from flowtoy_dagster.engine.executors.remote.message import LONGEST, Message, decoded
from flowtoy_dagster.engine.executors.remote.pool import RemotePool
from flowtoy_dagster.engine.executors.warm.worker import StepTask
from flowtoy_dagster.engine.sites.site import Site
from flowtoy_dagster.errors import HomeError, RunInterrupted, UsageError
from flowtoy_dagster.loader import load_flow, with_executor
from flowtoy_dagster.runs.cancel import cancel_run
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.sessions.carriers import SESSION_TAG

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")


def running(*command: str) -> list[Any]:
    """The processes of a command."""
    return [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == list(command)]


def test_steps_of_lost_and_stopped_workers_go_on_elsewhere_and_nothing_of_them_is_stored(
    here: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    # One worker is killed; another is stopped with all that it runs, and goes on too late.
    calls, go = tmp_path / "calls", tmp_path / "go"
    waits = "echo {0} >> {1}; until test -e {2}; do sleep 0.05; done; echo {0}"
    steps = "".join(f"""
          - name: {name}
            retry: {{max: 1, delay: 0, on: crash}}
            source: {{type: process, command: [sh, -c, "{waits.format(name, calls, go)}"]}}
            output: [{{name: text, value: stdout}}]""" for name in ("one", "two"))
    flow = write(f"""
        flow:{steps}
          - {{name: unclaimed, depends_on: [one, two], run_if: always,
             source: {{type: process, command: ["true"]}}}}
        runner: {{executor: workers, executor_options: {{queue: faults}}}}
    """)
    first, second = (here.start("--queue", "faults") for _ in range(2))
    started: set[str] = set()
    stopped: list[psutil.Process] = []
    threads: list[threading.Thread] = []

    def lines() -> list[str]:
        return sorted(calls.read_text().splitlines()) if calls.exists() else []

    def rescue() -> None:
        # No worker is left: the run tells that it waits, until there is one.
        third = here.start("--queue", "faults", "-c", "2")
        third.wait_for("takes step 'two'")
        third.wait_for("takes step 'one'")
        here.wait_until(lambda: len(lines()) == 4, "second attempts")
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        # What it had is not its any more: it kills the processes that run it.
        second.wait_for("is lost: it was given to another worker")
        go.touch()

    def fault(change: Any) -> None:
        if change.step.state == "running" and change.step.attempt == 1:
            started.add(change.step.name)
        if started == {"one", "two"} and not stopped:
            here.wait_until(lambda: lines() == ["one", "two"], "both steps")
            first.process.kill()
            process = psutil.Process(second.process.pid)
            stopped.extend([process, *process.children(recursive=True)])
            for each in stopped:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.suspend()
            threads.append(threading.Thread(target=rescue))
            threads[0].start()

    done = run_flow(flow, on_change=fault)
    threads[0].join()
    assert done.success, [step.error for step in done.status.steps.values()]
    assert done.outputs["one"] == {"text": "one\n"}
    assert {name: step.attempt for name, step in done.status.steps.items()} == {
        "one": 2, "two": 2, "unclaimed": 1,
    }
    assert lines() == ["one", "one", "two", "two"]
    with History() as history:
        run = history.find("last")
        kinds = [
            (entry.step_key, entry.dagster_event.event_type_value)
            for entry in history.instance.all_logs(run.run_id) if entry.dagster_event
        ]
        shown = history.status(run).steps
    for name in ("one", "two"):
        ends = [kind for key, kind in kinds if key == name and kind in
                ("STEP_START", "STEP_RESTARTED", "STEP_SUCCESS", "STEP_FAILURE",
                 "STEP_UP_FOR_RETRY")]
        assert ends[-1] == "STEP_SUCCESS"
        assert ends.count("STEP_SUCCESS") == ends.count("STEP_UP_FOR_RETRY") == 1
        assert "STEP_FAILURE" not in ends
        assert shown[name].state == "succeeded"


def test_a_step_whose_worker_is_gone_fails_with_that_reason_where_it_is_not_retried(
    here: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    flow = write("""
        flow:
          - {name: lost, source: {type: process, command: [sleep, "60713"]}}
        runner: {executor: workers, executor_options: {queue: gone}}
    """)
    only = here.start("--queue", "gone")
    others: list[threading.Thread] = []

    def fault(change: Any) -> None:
        if change.step.state == "running" and not others:
            only.process.kill()
            others.append(threading.Thread(target=here.start, args=("--queue", "gone")))
            others[0].start()

    done = run_flow(flow, on_change=fault)
    others[0].join()
    assert not done.success
    error = done.status.steps["lost"].error or ""
    assert error.endswith("that ran this step is gone")
    # Its command ended with it.
    assert not running("sleep", "60713")


def test_a_run_that_is_cancelled_on_another_machine_ends_its_steps_on_workers(
    here: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    # language 19.3
    flow = write("""
        flow:
          - {name: long, source: {type: process, command: [sleep, "60714"]}}
          - {name: nobody takes it, source: {type: process, command: ["true"]}}
          - {name: cleans up, run_if: always, source: {type: process, command: ["true"]}}
        runner: {executor: workers, executor_options: {queue: interrupts}}
    """)
    here.start("--queue", "interrupts")
    runs: list[str] = []
    errors: list[Exception] = []

    def cancel() -> None:
        try:
            with History(tmp_path / "another") as history:
                run = history.find(runs[0])
                session = f"elsewhere/machine/boot/namespace/17/4711/{run.run_id}"
                cancel_run(history, run._replace(tags={**run.tags, SESSION_TAG: session}))
        except Exception as error:
            errors.append(error)

    others = [threading.Thread(target=cancel)]

    def begin(change: Any) -> None:
        if change.step.state == "running" and change.step.name == "long":
            others[0].start()

    with pytest.raises(RunInterrupted) as raised:
        run_flow(flow, on_change=begin, on_created=runs.append)
    others[0].join()
    assert errors == []
    states = {name: step.state for name, step in raised.value.run.status.steps.items()}
    assert states["long"] == "failed"
    assert states["cleans up"] == "succeeded"
    assert raised.value.run.status.state == "cancelled"
    assert not running("sleep", "60714")


def test_a_step_that_its_own_run_has_killed_is_not_said_to_have_run_out_of_memory(
    here: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    heeds_nothing = f"trap '' INT TERM; touch {tmp_path}/begun; while :; do sleep 0.05; done"
    flow = write(f"""
        flow:
          - {{name: stubborn, source: {{type: process, command: [sh, -c, "{heeds_nothing}"]}}}}
        runner: {{executor: workers, executor_options: {{queue: stubborn}}}}
    """)
    worker = here.start("--queue", "stubborn")
    stops = "SELECT stop FROM flowtoy_leases WHERE step_key = 'stubborn'"
    command = [sys.executable, "-m", "flowtoy_dagster", "run", str(flow)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        here.wait_until((tmp_path / "begun").exists, "the command")
        run.send_signal(signal.SIGINT)
        here.wait_until(lambda: "interrupt" in here.sql(stops), "the interrupt")
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=here.patience)
    assert run.returncode == 130, said
    worker.wait_for("is lost: its run has ended it")
    assert "memory" not in worker.log + said
    assert worker.end() == 0


@pytest.mark.parametrize(("variables", "message"), [
    ({"FLOWTOY_STORAGE": ""}, "the executor 'workers' needs the history of runs in PostgreSQL"),
    ({"FLOWTOY_FILES": "ftp://host/prefix"}, "files at 'ftp://' are not supported"),
    ({"FLOWTOY_FILES": "files"}, "FLOWTOY_FILES is not an absolute path: 'files'"),
    ({"FLOWTOY_FILES": "/does/not/exist"}, "does not exist"),
], ids=["no database", "a URL", "a relative path", "no folder"])
def test_what_is_missing_is_reported_before_a_run_is_made(
    here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str],
    message: str,
) -> None:
    monkeypatch.setenv("FLOWTOY_HOME", str(tmp_path / "home"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    before = here.sql("SELECT count(*) FROM runs")
    with pytest.raises(HomeError, match=message) as raised:
        run_flow({"flow": [{"name": "a", "source": "env"}], "runner": {"executor": "workers"}})
    assert raised.value.exit_code == 2
    assert here.sql("SELECT count(*) FROM runs") == before


def test_an_executor_can_be_chosen_by_the_command_line_or_the_environment(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowtoy_dagster.engine.executors.kinds import executor_named, executor_of

    flow = load_flow({"flow": [{"name": "a", "source": "env"}]})
    chosen = with_executor(flow, "workers")
    assert executor_of(flow.runner).name == "warm"
    assert executor_of(chosen.runner).name == "workers"
    assert chosen.config["runner"]["executor"] == "workers"
    monkeypatch.setenv("FLOWTOY_EXECUTOR", "workers")
    assert executor_of(flow.runner).name == "workers"
    assert executor_of(with_executor(flow, "in_process").runner).name == "in_process"
    with pytest.raises(UsageError, match=r"'wokers' is not .*\n    did you mean 'workers'\?"):
        with_executor(flow, "wokers")
    with pytest.raises(UsageError, match="the executor 'warm' has no workers"):
        executor_named("warm").serve("default", 1)


def test_a_run_says_whether_workers_are_busy_or_do_not_take_a_step(
    machines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pause in ("TELL_AFTER", "SEND_SOON"):
        monkeypatch.setattr(pool, pause, 0.0)
    told: list[str] = []
    database = Database(machines.address, 0)
    transport = Mock(**{"trouble.return_value": None, "listeners.return_value": "says why",
                        "hint.return_value": "look at it"})
    options = (lambda _: "says why", lambda _: None, lambda _, text: told.append(text))
    site = Site("0.2", "3.12.1", 1, "f00", "here")
    leases = Leases(database, site)

    def look() -> list[str]:
        told.clear()
        list(steps.wait(0))
        return list(told)

    logged: list[str] = []
    monkeypatch.setattr(pool.logger, "warning", lambda text, *values: logged.append(text % values))
    with RemotePool("a run that waits", database, site, transport, *options) as steps:
        steps.run("one", StepTask(0, None))
        assert look() == ["waits for a worker: none listens on queue 'says why'"]
        # One that has been started just now is no news, and no mystery.
        leases.present("busy", "host", "says why", 1)
        assert look() == []
        database.rows("UPDATE flowtoy_leases SET holder = 'busy' WHERE run_id = 'a run that waits' "
                      "AND turn = 0")
        leases.present("idle", "other", "says why", 1)
        assert look() == []
        wanted = ["waits for a worker: the worker on other has a free slot and does not take it; "
                  "look at it"]
        assert look() == wanted
        assert look() == []
        steps.run("two", StepTask(0, None))
        assert look() == wanted
        assert logged == [
            "step 'one' waits for a worker: none listens on queue 'says why'",
            f"step 'one' {wanted[0]}",
        ]
    leases.leave("idle")
    with RemotePool("a run that waits", database, site, transport, *options) as steps:
        steps.run("one", StepTask(0, None))
        database.rows("UPDATE flowtoy_leases SET holder = 'busy' WHERE run_id = 'a run that waits' "
                      "AND turn = 0")
        assert look() == ["waits for a worker: those on queue 'says why' are busy"]


@pytest.mark.parametrize("text", [
    "", "no JSON", "[]", "null", '{"v": 2, "run": "a", "turn": 1}', '{"v": 1, "run": "a"}',
    '{"v": 1, "run": 1, "turn": 1}', '{"v": 1, "run": "a", "turn": true}', '{"v": 1}' + " " * 400,
])
def test_what_is_no_message_of_this_version_is_reported_and_dropped(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decoded(text) is None
    reason = "a message of version 2, which" if '"v": 2' in text else "a message that is not fl"
    assert f"drops {reason}" in capsys.readouterr().err


def test_a_message_is_short_and_only_says_where_its_step_is() -> None:
    message = Message("9d1a6d4c-6d0a-4b43-9e59-2f0f3c1f4b1a", 10_000)
    assert Message.decode(message.encode()) == message
    assert len(message.encode()) < 100 < LONGEST


def test_a_message_that_nobody_has_is_sent_again_soon_where_a_worker_is_free(
    machines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A worker that was stopped, or lost, may have it.
    monkeypatch.setattr(pool, "SEND_SOON", 0.0)
    sent: list[Message] = []
    database = Database(machines.address, 0)
    transport = Mock(**{"submit.side_effect": lambda message, _: sent.append(message),
                        "trouble.return_value": None, "listeners.return_value": "free"})
    options = (lambda _: "free", lambda _: None, Mock())
    site = Site("0.2", "3.12.1", 1, "f00", "here")
    with RemotePool("a run", database, site, transport, *options) as steps:
        steps.run("one", StepTask(0, None))
        list(steps.wait(0))
        assert [message.turn for message in sent] == [1]
        # One that can't take it is no reason.
        other = dataclasses.replace(site, files="f01")
        Leases(database, other).present("other", "host", "free", 1)
        list(steps.wait(0))
        assert [message.turn for message in sent] == [1]
        Leases(database, site).present("holder", "host", "free,other", 1)
        list(steps.wait(0))
        assert [message.turn for message in sent] == [1, 1]
        steps.run("two", StepTask(0, None))
        machines.sql("UPDATE flowtoy_leases SET holder = 'holder' WHERE turn = 2")
        list(steps.wait(0))
        assert [message.turn for message in sent] == [1, 1, 2]
