"""Runs whose steps go through brokers to workers with homes of their own."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.executors.brokers.deployment import deployment_here
from flowtoy_dagster.engine.executors.brokers.outbox import queue_name
from flowtoy_dagster.engine.executors.kinds import EXECUTORS
from flowtoy_dagster.engine.executors.remote import pool
from flowtoy_dagster.engine.executors.remote.message import Message
from flowtoy_dagster.loader import load_flow, with_executor
from flowtoy_dagster.runs.history import History

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")

CARRIERS = ("redis", "rabbitmq", "dask")
FAULTY = CARRIERS if "FLOWTOY_BROKER_FAULTS" in os.environ else ("dask",)
"""Those on which a worker is killed: ten seconds and more each."""
RESTARTED = CARRIERS if "FLOWTOY_BROKER_FAULTS" in os.environ else ("redis",)
"""Those that are killed and started again."""
SECRET = "s3cr3t-of-the-workers-only"
GIVEN = "a-token-that-a-step-has-found"
KEY = "the-key-that-was-given"
RICH = f"""
    params:
      who: {{type: string, default: world}}
      mark: {{type: string}}
      key: {{type: string, secret: true}}
      order: {{type: object, default: {{z: 1, a: {{y: 1, b: 2}}}}}}
    runner: {{on_error: continue, cwd: flow, groups: {{one: {{concurrency: 1}}}}}}
    flow:
      - name: greet
        source: {{type: process, command: [echo, -n, "hello {{{{ params.who }}}}
          {{{{ params.order | tojson }}}}"]}}
        output: [{{name: text, value: stdout}}]
      - name: numbers
        group: one
        source: {{type: process, command: [echo, '[1, 2, 3]']}}
        output: [{{name: list, type: json}}]
      - name: each
        group: one
        for_each: "{{{{ flows.numbers.list }}}}"
        source: {{type: process, command: [echo, -n, "{{{{ item }}}}"]}}
        output: [{{name: text, value: stdout}}]
      - {{name: maybe, when: "{{{{ flows.numbers.list | length > 5 }}}}", source: env}}
      - name: here
        source: {{type: process, command: [sh, -c, 'test "$(pwd -P)" = "$1" && echo -n same', sh,
          "{{{{ flow.dir }}}}"]}}
        output: [{{name: text, value: stdout}}]
      - name: dies once
        retry: {{max: 1, delay: 0, on: crash}}
        source: {{type: process, command: [sh, -c, "test -e $1 || {{{{ '{{' }}}} touch $1; kill
          -9 $PPID; sleep 60; {{{{ '}}' }}}}", sh, "{{{{ params.mark }}}}"]}}
      - name: dies
        source: {{type: process, command: [sh, -c, "kill -9 $PPID; sleep 60"]}}
      - {{name: late, timeout: 500ms, source: {{type: process, command: [sleep, "30"]}}}}
      - name: log in
        source: {{type: process, command: [sh, -c, "cat >&2; echo -n {GIVEN[:9]}'{GIVEN[9:]}'"]}}
        input: {{stdin: "{{{{ env.SHOP_PASSWORD }}}} {{{{ params.key }}}}"}}
        output: [{{name: token, value: stdout, secret: true}}]
      - name: use
        source: {{type: process, command: [cat]}}
        input: {{stdin: "{{{{ flows['log in'].token }}}}"}}
        output: [{{name: text, value: stdout}}]
      - name: halts
        depends_on: [greet, each, maybe, dies once, dies, late, use]
        on_error: fail
        source: {{type: process, command: [sh, -c, "echo why >&2; exit 3"]}}
      - {{name: never, depends_on: halts, on_error: fail, source: env}}
      - name: cleans up
        run_if: always
        source: {{type: process, command: [sh, -c, "env | grep -c -e FLOWTOY_BROKER -e FLOWTOY_DASK
          -e FLOWTOY_STORAGE || true"]}}
        output: [{{name: addresses, value: stdout}}]
"""


def facts_of(run: Any) -> dict[str, tuple[str, int | None]]:
    return {name: (step.state, step.attempt) for name, step in run.status.steps.items()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the rich flow gives on one machine, with the history in files."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "flow.yaml").write_text(RICH, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FLOWTOY_STORAGE", "FLOWTOY_FILES"):
            patch.delenv(name, raising=False)
        patch.setenv("SHOP_PASSWORD", SECRET)
        params = {"mark": str(folder / "mark"), "key": KEY}
        return run_flow(folder / "flow.yaml", home=folder / "home", params=params)


@pytest.mark.parametrize("name", CARRIERS)
def test_a_flow_gives_what_it_gives_on_one_machine_and_no_secret_leaves_it(
    deployments: Any, carried: Any, write: Callable[..., Path], tmp_path: Path, name: str,
    expected: Any,
) -> None:
    # language 9.2, 9.4, 10.1, 10.2, 10.6, 19.3
    deployment = carried(deployments(name))
    seen: list[str] = []

    def look(_: Any) -> None:
        # Those of this test: another one may ask the database by a command line.
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                seen.append(" ".join(process.cmdline()))

    flow = with_executor(load_flow(write(RICH)), deployment.executor)
    done = run_flow(flow, params={"mark": str(tmp_path / "mark"), "key": KEY}, on_change=look)
    assert facts_of(done) == facts_of(expected), [
        step.error for step in done.status.steps.values()
    ]
    assert done.outputs == expected.outputs
    assert done.outputs["use"] == {"text": GIVEN}
    assert done.outputs["here"] == {"text": "same"}
    assert done.outputs["cleans up"] == {"addresses": "0\n"}
    error = "was killed by signal 9 (SIGKILL)"
    assert error in (done.status.steps["dies"].error or "")
    # Both ways to start a worker have one that took steps.
    assert all("takes step" in worker.log for worker in deployment.workers)
    with History() as history:
        assert {one for one, _, _ in history.captured(history.find("last"), None)} >= {"greet"}
    machines = deployment.machines
    seen += [machines.server.dump(machines.name), *deployment.broker.texts()]
    seen += [worker.log for worker in deployment.workers]
    passwords = ("br0ker/p+ss", "br0ker%2Fp%2Bss", "pg+pass/w0rd?é", "pg%2Bpass%2Fw0rd")
    for secret in (SECRET, GIVEN, KEY, *passwords):
        assert not any(secret in text for text in seen), secret


@pytest.mark.parametrize("name", CARRIERS)
def test_a_message_that_is_delivered_twice_or_late_or_is_none_changes_nothing(
    deployments: Any, carried: Any, write: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    deployment = carried(deployments(name))
    calls = tmp_path / "calls"
    flow = write(f"""
        flow:
          - {{name: one, source: {{type: process, command: [sh, -c, "echo call >> {calls}"]}}}}
    """)
    answers = list(EXECUTORS[deployment.executor].examine(is_wanted=False))
    (broker,) = (one for one in answers if one.part == "broker")
    assert broker.state == "ok"
    assert broker.text.endswith(f"queues are {queue_name(deployment_here().name, '*')}")
    # Workers of other tests may be among them.
    listening = [one for one in answers if "from queue 'default'" in one.text]
    assert len(listening) >= len(deployment.workers)
    assert {(one.part, one.state) for one in listening} == {("workers", "ok")}
    sender = EXECUTORS[deployment.executor].open_sender()
    queue = queue_name(deployment_here().name, "default")

    def deliver(run_id: str) -> None:
        for turn in (1, 1, 7):
            sender.send(Message(run_id, turn), queue)

    try:
        runs: list[str] = []
        done = run_flow(
            with_executor(load_flow(flow), deployment.executor), on_created=runs.append,
            on_change=lambda change: deliver(runs[0]),
        )
        assert done.success, [step.error for step in done.status.steps.values()]
        deliver(runs[0])
        # What comes after them is run after them, by the same workers.
        again = run_flow(with_executor(load_flow(flow), deployment.executor))
    finally:
        sender.close()
    assert again.success, [step.error for step in again.status.steps.values()]
    assert calls.read_text() == "call\ncall\n"
    assert done.status.steps["one"].attempt == 1


def test_a_worker_that_is_to_end_finishes_its_step_and_takes_nothing_new(
    deployments: Any, carried: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    deployment = carried(deployments("redis"))
    go, calls = tmp_path / "go", tmp_path / "calls"
    slow = f"echo call >> {calls}; until test -e {go}; do sleep 0.05; done"
    flow = write(f"""
        flow:
          - {{name: slow, source: {{type: process, command: [sh, -c, "{slow}"]}}}}
          - {{name: next, depends_on: slow, source: {{type: process, command: ["true"]}}}}
          - {{name: elsewhere, depends_on: slow, queue: default,
             source: {{type: process, command: ["true"]}}}}
        runner: {{executor: celery, executor_options: {{queue: ending}}}}
    """)
    ending = deployment.start("ending")
    other: list[Any] = []

    def end(change: Any) -> None:
        if change.step.name == "slow" and change.step.state == "running" and not other:
            ending.signal(signal.SIGTERM)
            ending.wait_for("takes no more steps; 1 still run")
            # A run that is kept from renewing its lease is given up.
            other.append(deployment.launch("ending"))
            go.touch()

    done = run_flow(flow, on_change=end)
    assert done.success, [step.error for step in done.status.steps.values()]
    machines = deployment.machines
    assert ending.process.wait(machines.patience) == 0
    assert calls.read_text() == "call\n"
    assert "takes step 'next'" not in ending.log
    assert "takes step 'next'" in other[0].log
    assert "takes step 'elsewhere'" not in other[0].log
    assert any("takes step 'elsewhere'" in worker.log for worker in deployment.workers)
    assert other[0].end() == 0


@pytest.mark.parametrize("name", RESTARTED)
def test_a_run_goes_on_without_its_broker_and_reports_it_once(
    deployments: Any, carried: Any, write: Callable[..., Path], tmp_path: Path, name: str,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The first step ends while the broker is away: it is neither lost nor run again.
    deployment = carried(deployments(name))
    monkeypatch.setattr(logging.getLogger("flowtoy"), "propagate", True)
    go, calls = tmp_path / "go", tmp_path / "calls"
    slow = f"echo call >> {calls}; until test -e {go}; do sleep 0.05; done"
    flow = write(f"""
        flow:
          - {{name: slow, source: {{type: process, command: [sh, -c, "{slow}"]}}}}
          - {{name: next, depends_on: slow,
             source: {{type: process, command: [sh, -c, "echo call >> {calls}"]}}}}
    """)
    lost = deployment.workers[0]
    (variable,) = deployment.broker.variables

    def restart() -> None:
        deployment.machines.wait_until(lambda: "can't reach the broker" in caplog.text, caplog.text)
        lost.wait_for("can't reach the ")
        deployment.broker.start()

    threads = [threading.Thread(target=restart)]

    def fault(change: Any) -> None:
        if change.step.name == "slow" and change.step.state == "running" and not go.exists():
            deployment.machines.wait_until(calls.exists, "the call")
            deployment.broker.kill()
            threads[0].start()
            go.touch()

    done = run_flow(with_executor(load_flow(flow), deployment.executor), on_change=fault)
    threads[0].join()
    assert done.success, [step.error for step in done.status.steps.values()]
    assert calls.read_text() == "call\ncall\n"
    assert {name: step.attempt for name, step in done.status.steps.items()} == {
        "slow": 1, "next": 1,
    }
    said = [one.getMessage() for one in caplog.records if one.name == "flowtoy.step"]
    assert [text.partition(":")[0] for text in said] == [
        f"can't reach the broker that {variable} names",
        f"the broker that {variable} names answers again",
    ]
    lost.wait_for(" answers again")
    assert "Traceback" not in lost.log


@pytest.mark.parametrize("name", RESTARTED)
def test_a_worker_without_a_free_slot_takes_steps_again_after_its_broker_was_away(
    deployments: Any, carried: Any, write: Callable[..., Path], tmp_path: Path, name: str,
) -> None:
    # Nothing waits for the broker then: that it is away shows when the step's end is reported.
    deployment = carried(deployments(name))
    worker = deployment.start("full", "-c", "1")
    go = tmp_path / "go"
    flow = write(f"""
        flow:
          - name: slow
            source: {{type: process, command: [sh, -c, "until test -e {go}; do sleep 0.05; done"]}}
          - {{name: next, depends_on: slow, source: {{type: process, command: ["true"]}}}}
        runner: {{executor: {deployment.executor}, executor_options: {{queue: full}}, timeout: 90s}}
    """)

    def fault(change: Any) -> None:
        if change.step.name == "slow" and change.step.state == "running" and not go.exists():
            deployment.broker.kill()
            go.touch()
            worker.wait_for("step 'slow' of run")
            worker.wait_for("can't reach the ")
            deployment.broker.start()

    done = run_flow(flow, on_change=fault)
    assert done.success, [step.error for step in done.status.steps.values()]
    assert [step.attempt for step in done.status.steps.values()] == [1, 1]
    assert worker.end() == 0
    assert "Traceback" not in worker.log


@pytest.mark.parametrize("name", FAULTY)
def test_steps_of_a_lost_worker_are_tried_again_elsewhere(
    deployments: Any, carried: Any, write: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    deployment = carried(deployments(name))
    calls, go = tmp_path / "calls", tmp_path / "go"
    waits = f"echo call >> {calls}; until test -e {go}; do sleep 0.05; done"
    flow = write(f"""
        flow:
          - {{name: one, retry: {{max: 1, delay: 0, on: crash}},
             source: {{type: process, command: [sh, -c, "{waits}"]}}}}
          - {{name: two, depends_on: one, source: {{type: process, command: ["true"]}}}}
        runner: {{executor: {deployment.executor}, executor_options: {{queue: faults}}}}
    """)
    lost = deployment.start("faults")
    other: list[Any] = []

    def fault(change: Any) -> None:
        if change.step.name == "one" and change.step.state == "running" and not other:
            deployment.machines.wait_until(calls.exists, "the call")
            lost.process.kill()
            other.append(deployment.launch("faults"))
        if change.step.name == "one" and change.step.attempt == 2:
            go.touch()

    done = run_flow(flow, on_change=fault)
    assert done.success, [step.error for step in done.status.steps.values()]
    # Celery and Dask deliver again what the lost worker had: it is one attempt all the same.
    assert calls.read_text() == "call\ncall\n"
    assert {name: step.attempt for name, step in done.status.steps.items()} == {"one": 2, "two": 1}
    assert other[0].end() == 0


def test_a_run_says_that_its_worker_gets_no_messages(
    deployments: Any, carried: Any, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch,
) -> None:
    deployment = carried(deployments("redis"))
    monkeypatch.setattr(pool, "TELL_AFTER", 1.0)
    # The same server, and another place in it.
    address = deployment.broker.variables["FLOWTOY_BROKER"].rpartition("/")[0] + "/7"
    lost = deployment.machines.start(
        "--executor", "celery", "--queue", "lost", FLOWTOY_BROKER=address
    )
    flow = write("""
        flow: [{name: one, source: env}]
        runner: {executor: celery, executor_options: {queue: lost}, timeout: 6s}
    """)
    error = run_flow(flow).status.steps["one"].error
    assert error == (
        "the run's timeout passed before a worker took this step: the worker on "
        f"{socket.gethostname()} has a free slot and does not take it; see its log, and whether "
        "FLOWTOY_BROKER names the same broker there"
    )
    assert lost.end() == 0


def test_a_run_whose_steps_nobody_takes_ends_when_its_time_is_up(
    deployments: Any, carried: Any, write: Callable[..., Path]
) -> None:
    # language 10.4
    deployment = carried(deployments("redis"))
    flow = write("""
        flow:
          - {name: nobody takes it, on_error: continue, source: env}
          - {name: next, depends_on: nobody takes it, source: env}
          - {name: cleans up, run_if: always, queue: default, source: env}
          - {name: nobody cleans up, run_if: failure, source: env}
        runner: {executor: celery, executor_options: {queue: nobody}, timeout: 500ms, grace: 5}
    """)
    done = run_flow(flow)
    assert not done.success
    assert {name: step.state for name, step in done.status.steps.items()} == {
        "nobody takes it": "failed", "next": "skipped", "cleans up": "succeeded",
        "nobody cleans up": "failed",
    }
    told = ("the run's timeout passed before a worker took this step: none listens on queue "
            "'nobody'")
    assert done.status.steps["nobody takes it"].error == told
    assert deployment.workers
