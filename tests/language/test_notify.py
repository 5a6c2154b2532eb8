"""What is told when a run has ended (language 19.6)."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.definitions import build_job
from flowtoy_dagster.engine.jobs.sensors import sensors_of
from flowtoy_dagster.errors import RunInterrupted
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.runs import notify
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.processes.background_run import launch_background
from flowtoy_dagster.runs.processes.run_process import RunProcess

PATIENCE = 120.0
pytestmark = pytest.mark.usefixtures("made_home")


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Told:
    """What notifications have written, a line each."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def source(self) -> dict[str, Any]:
        return {"type": "process", "command": ["sh", "-c", f"cat >> '{self.path}'"],
                "pass_to": "stdin"}

    def flow(self, *notifications: dict[str, Any], command: Any = ("true",)) -> dict[str, Any]:
        return {
            "name": "nightly",
            "sources": {"chat": self.source()},
            "notify": list(notifications),
            "flow": [{"name": "a", "source": {"type": "process", "command": list(command)}}],
            "runner": {"executor": "in_process"},
        }

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path / "told.txt")


def on(*ends: str, text: str = "{{ run.state }}") -> dict[str, Any]:
    return {"on": list(ends), "source": "chat", "input": f"{'+'.join(ends)}: {text}\n"}


EVERY = [on("failure"), on("success"), on("cancelled"), on("recovered")]


# language 19.6
def test_each_end_of_a_run_is_told_and_a_success_after_a_failure_is_a_recovery(told: Told) -> None:
    good, bad = told.flow(*EVERY), told.flow(*EVERY, command=["false"])
    other = {**bad, "name": "another flow", "notify": []}
    assert run_flow(good).success
    assert not run_flow(other).success
    assert run_flow(good).success  # another flow's failure is none of this one's
    assert not run_flow(bad).success
    assert run_flow(good).success
    assert run_flow(good).success
    assert told.lines == [
        "success: succeeded", "success: succeeded", "failure: failed",
        "success: succeeded", "recovered: succeeded", "success: succeeded",
    ]


# language 19.6
def test_a_run_that_is_cancelled_is_told_of(told: Told) -> None:
    flow = told.flow(*EVERY, command=["sleep", "600"]) | {"runner": {"executor": "warm"}}
    running = threading.Event()

    def cancel() -> None:
        assert running.wait(PATIENCE)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=cancel, daemon=True).start()
    with pytest.raises(RunInterrupted):
        run_flow(flow, on_change=lambda _: running.set())
    assert told.lines == ["cancelled: cancelled"]


# language 19.6
def test_its_templates_know_the_run_its_failures_and_the_parameters(told: Told) -> None:
    text = (
        "{{ run.name }} {{ run.failed }} {{ run.error }} {{ params.who }} "
        "{{ run.started_at <= run.ended_at }} {{ run.seconds >= 0 }} {{ run.id | length }}"
    )
    flow = told.flow(on("failure", text=text), command=["sh", "-c", "exit 3"])
    run_flow({**flow, "params": {"who": "team"}})
    assert told.lines == [
        "failure: nightly [\"a\"] 'a': sh exited with code 3 team true true 36"
    ]


# language 19.6
@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["ls", "/no/such/place"], "ls exited with code"),
        (["sleep", "600"], "timed out after 0.5 s"),
        (["echo", "{{ run.failed[7].name }}"], "source.command[1]: "),
    ],
)
def test_a_notification_that_fails_is_a_warning_and_the_others_are_sent(
    command: list[str], reason: str, told: Told, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(notify, "LONGEST", 0.5 if command[0] == "sleep" else 60.0)
    wrong = {"on": "success", "source": {"type": "process", "command": command}}
    with caplog.at_level(logging.WARNING, "flowtoy.notify"):
        done = run_flow(told.flow(wrong))
        monkeypatch.setattr(notify, "LONGEST", 60.0)
    assert done.success
    assert f"notification 1 could not be sent: {reason}" in caplog.text
    assert run_flow(told.flow(on("success"))).success
    assert told.lines == ["success: succeeded"]


# language 19.6, 13.2
def test_secrets_are_masked_in_what_is_said_of_a_notification(
    told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CHAT_TOKEN", "hidden-value-1")
    script = "echo {{ env.CHAT_TOKEN }} >&2; exit 1"
    wrong = {"on": "success", "source": {"type": "process", "command": ["sh", "-c", script]}}
    with caplog.at_level(logging.WARNING, "flowtoy.notify"):
        assert run_flow(told.flow(wrong)).success
    assert "could not be sent" in caplog.text
    assert "hidden-value-1" not in caplog.text


# language 19.6
def test_a_run_of_another_process_is_told_of_by_that_one_and_only_once(told: Told) -> None:
    flow = load_flow(told.flow(*EVERY))
    with History() as history:
        run = launch_background(history, flow)
        assert run.wait(PATIENCE)
        assert told.lines == ["success: succeeded"]
        notify.notify_from(history.home, run.run_id)
    assert told.lines == ["success: succeeded"]


# language 19.6
def test_who_is_killed_while_sending_leaves_the_rest_unsent_and_nobody_sends_twice(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = told.flow(on("success", text="first"), on("success", text="second"))
    flow["sources"]["chat"]["command"][2] += "; kill -9 $PPID"
    with History() as history:
        run = launch_background(history, load_flow(flow))
        assert run.wait(PATIENCE)
        assert history.find(run.run_id).is_success
        assert told.lines == ["success: first"]
        notify.notify_from(history.home, run.run_id)
        assert told.lines == ["success: first"]

        # Several that look at the same moment: one of them sends.
        history.instance.add_run_tags(run.run_id, {"flowtoy/notified": "nobody"})
        sent: list[Any] = []
        monkeypatch.setattr(notify, "_send", lambda *call: sent.append(call[-1]))
        senders = [
            threading.Thread(target=notify.notify_from, args=(history.home, run.run_id))
            for _ in range(4)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    assert len(sent) == len(flow["notify"])


# language 19.6
@pytest.mark.parametrize("how", ["asked twice", "asked once", "parent gone"])
def test_a_process_that_ends_while_it_notifies_leaves_no_command(
    how: str, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flow = told.flow(on("success"))
    flow["sources"]["chat"]["command"][2] = "echo $$ > pid.part; mv pid.part pid; sleep 600"
    process = RunProcess()
    with History() as history:
        run = launch_background(history, load_flow(flow), process=process)
        wait_until((tmp_path / "pid").exists)
        command = psutil.Process(int((tmp_path / "pid").read_text()))
        if how == "parent gone":
            stdin = process._process.stdin
            assert stdin is not None
            stdin.close()
        else:
            process.interrupt()
        if how == "asked twice":
            process.interrupt()
        assert run.wait(PATIENCE)
        assert history.find(run.run_id).is_success
    wait_until(lambda: not command.is_running())


# language 19.6
def test_in_a_deployment_a_sensor_sends_what_nobody_has_sent(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = load_flow(told.flow(on("failure"), command=["false"]))
    job = build_job(flow)
    (sensor,) = sensors_of(flow, job)
    assert isinstance(sensor, dg.RunStatusSensorDefinition)
    assert sensor.name == "nightly_notify_failure"
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    monkeypatch.setattr("flowtoy_dagster.runs.run.notify_of_end", lambda *_: None)
    done = run_flow(flow)
    assert told.lines == []
    with History() as history:
        run = history.find(done.run_id)
        context = dg.build_run_status_sensor_context(
            sensor.name, history.instance.all_logs(run.run_id)[-1].get_dagster_event(),
            history.instance, run,
        )
        sensor(context)
        sensor(context)
    assert told.lines == ["failure: failed"]


# language 19.6
def test_a_code_location_has_the_sensors_of_its_flows(tmp_path: Path, told: Told) -> None:
    import json

    from flowtoy_dagster.definitions import build_definitions

    (tmp_path / "nightly.yaml").write_text(json.dumps(told.flow(on("success", "failure"))))
    (tmp_path / "quiet.yaml").write_text(json.dumps(told.flow()))
    found = build_definitions([tmp_path / "nightly.yaml"]).get_repository_def()
    assert {sensor.name for sensor in found.sensor_defs} == {
        "nightly_notify_success", "nightly_notify_failure"
    }
