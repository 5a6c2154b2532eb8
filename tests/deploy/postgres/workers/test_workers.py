"""Runs whose steps go through PostgreSQL to workers with homes of their own."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.sites.site import Site
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.loader import load_flow, with_executor
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry, retry_run

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")

SECRET = "s3cr3t-of-the-workers-only"
GIVEN = "a-token-that-a-step-has-found"
MIXED = """
    runner: {cwd: flow}
    params: {who: {type: string, default: world}, mark: {type: string}}
    sources: {say: {type: process, command: [echo, -n]}}
    flow:
      - name: greet
        source: {type: process, command: [echo, -n, "hello {{ params.who }}"]}
        output: [{name: text, value: stdout}]
      - name: list
        source: {type: process, command: [echo, '[1, 2, 3]']}
        output: [{name: numbers, type: json}]
      - name: each
        for_each: "{{ flows.list.numbers }}"
        source: {type: process, command: [echo, -n, "{{ item }}"]}
        output: [{name: text, value: stdout}]
      - name: maybe
        when: "{{ flows.list.numbers | length > 5 }}"
        source: say
      - name: second try
        retry: {max: 1, delay: 0}
        source:
          type: process
          command: [sh, -c, "test -e {{ params.mark }} && echo -n 2 || ! touch {{ params.mark }}"]
        output: [{name: attempt, value: stdout}]
      - name: long text
        source: {type: process, command: [sh, -c, "yes é | head -c 300000"]}
        output: [{name: text, value: stdout}]
      - name: where
        source: {type: process, command: [pwd]}
        output: [{name: text, value: stdout}, {name: folder, value: "{{ flow.dir }}"}]
      - name: summary
        depends_on: [maybe]
        source: {type: process, command: [sh, -c, "cat"]}
        input: {stdin: "{{ flows.greet.text }} {{ flows.each.text | join(',') }}"}
        output: [{name: text, value: stdout}]
"""
FAILING = """
    runner: {on_error: continue}
    flow:
      - {name: fails, source: {type: process, command: [sh, -c, "echo why >&2; exit 3"]}}
      - {name: goes on, depends_on: fails, source: {type: process, command: ["true"]}}
      - {name: is skipped, depends_on: fails, on_error: skip,
         source: {type: process, command: ["true"]}}
      - {name: late, timeout: 500ms, source: {type: process, command: [sleep, "30"]}}
      - {name: halts, depends_on: [goes on, late], on_error: fail,
         source: {type: process, command: ["false"]}}
      - {name: never, depends_on: halts, on_error: fail, source: {type: process, command: ["true"]}}
      - {name: cleans up, run_if: always, source: {type: process, command: [echo, -n, clean]},
         output: [{name: text, value: stdout}]}
"""


@pytest.fixture(scope="module", autouse=True)
def _workers(machines: Any) -> None:
    """Two workers, with a secret in their environment alone."""
    for _ in range(2):
        machines.start("-c", "2", SHOP_PASSWORD=SECRET)


def facts_of(run: Any) -> dict[str, tuple[str, str | None]]:
    return {name: (step.state, step.error) for name, step in run.status.steps.items()}


def on_workers(flow: Path) -> Flow:
    return with_executor(load_flow(flow), "workers")


def elsewhere(flow: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **params: Any) -> Any:
    """The run of the same flow on the executor `warm`, in files."""
    with monkeypatch.context() as patch:
        patch.delenv("FLOWTOY_STORAGE")
        patch.delenv("FLOWTOY_FILES")
        return run_flow(flow, home=folder / "warm-home", params=params)


def test_a_flow_gives_what_it_gives_on_one_machine(
    here: Any, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = write(MIXED)
    done = run_flow(on_workers(flow), params={"mark": str(tmp_path / "one")})
    assert done.success, [step.error for step in done.status.steps.values()]
    expected = elsewhere(flow, tmp_path, monkeypatch, mark=str(tmp_path / "two"))
    assert done.outputs == expected.outputs
    assert done.outputs["where"] == {"text": f"{flow.parent}\n", "folder": str(flow.parent)}
    assert facts_of(done) == facts_of(expected)
    assert done.status.steps["second try"].attempt == 2
    # Nothing is left in the tables of workers, and nobody has written into another one's home.
    wanted = "SELECT (SELECT count(*) FROM flowtoy_leases), (SELECT count(*) FROM flowtoy_queue)"
    assert here.sql(wanted) == "0|0"
    for home in ("carrier", "worker0", "worker1"):
        assert not (here.folder / home / "flowtoy-records").exists()
    with History() as history:
        printed = {name for name, _, _ in history.captured(history.find("last"), None)}
    assert "greet" in printed


def test_failures_end_and_halt_a_run_as_on_one_machine(
    here: Any, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # language 9.2, 9.4, 10.2, 19.3
    flow = write(FAILING)
    done = run_flow(on_workers(flow))
    expected = elsewhere(flow, tmp_path, monkeypatch)
    assert facts_of(done) == facts_of(expected)
    assert done.outputs == expected.outputs
    assert not done.success
    assert done.status.steps["cleans up"].state == "succeeded"
    assert done.status.steps["fails"].stderr == "why"


def test_a_retry_reuses_what_other_machines_have_done(
    here: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    calls, ready = tmp_path / "calls", tmp_path / "ready"
    flow = write(f"""
        flow:
          - name: first
            source: {{type: process, command: [sh, -c, "echo call >> {calls}; echo -n one"]}}
            output: [{{name: text, value: stdout}}]
          - name: second
            depends_on: first
            source: {{type: process,
                      command: [sh, -c, "test -e {ready} && echo -n '{{{{ flows.first.text }}}}'"]}}
            output: [{{name: text, value: stdout}}]
    """)
    failed = run_flow(on_workers(flow))
    assert facts_of(failed)["second"][0] == "failed"
    ready.touch()
    with History() as history:
        plan = plan_retry(history, history.find("last"))
        done = retry_run(history, plan, 4, lambda change: None)
    assert done.success, [step.error for step in done.status.steps.values()]
    assert done.outputs == {"first": {"text": "one"}, "second": {"text": "one"}}
    assert calls.read_text() == "call\n"


def test_a_step_whose_process_is_killed_is_retried_or_tolerated(
    here: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    # language 10.1, 9.2
    once = "test -e {0} || {{ touch {0}; kill -9 $PPID; sleep 60; }}"
    flow = write(f"""
        flow:
          - name: again
            retry: {{max: 1, delay: 0, on: crash}}
            source: {{type: process, command: [sh, -c, "{once.format(tmp_path / 'died')}"]}}
          - name: lost
            on_error: continue
            source: {{type: process, command: [sh, -c, "kill -9 $PPID; sleep 60"]}}
          - {{name: after, depends_on: lost, on_error: continue,
             source: {{type: process, command: ["true"]}}}}
    """)
    done = run_flow(on_workers(flow))
    assert {name: state for name, (state, _) in facts_of(done).items()} == {
        "again": "succeeded", "lost": "failed", "after": "succeeded",
    }
    assert done.status.steps["again"].attempt == 2
    killed = "was killed by signal 9 (SIGKILL), perhaps because the machine ran out of memory (on "
    assert f"{killed}{socket.gethostname()})" in (done.status.steps["lost"].error or "")


def test_a_message_that_is_delivered_twice_or_late_changes_nothing(
    here: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    flow = write(f"""
        flow:
          - {{name: one, source: {{type: process, command: [sh, -c, "echo call >> {calls}"]}}}}
    """)

    route = Site.of_here(here.folder / "carrier").route

    def deliver(run_id: str) -> None:
        message = json.dumps({"v": 1, "run": run_id, "turn": 1})
        here.sql(f"""
            INSERT INTO flowtoy_queue (run_id, turn, queue, route, message)
            SELECT 'copy', coalesce(max(turn), 0) + 1, 'default', '{route}', '{message}'
            FROM flowtoy_queue;
            INSERT INTO flowtoy_queue (run_id, turn, queue, route, message) VALUES
            ('noise', 0, 'default', '{route}', 'no message'),
            ('noise', 1, 'default', '{route}', '{{"v": 2}}');
            SELECT pg_notify('flowtoy_wake', '')
        """)

    runs: list[str] = []
    done = run_flow(
        on_workers(flow), on_created=runs.append, on_change=lambda change: deliver(runs[0])
    )
    assert done.success, [step.error for step in done.status.steps.values()]
    deliver(runs[0])
    here.wait_until(lambda: here.sql("SELECT count(*) FROM flowtoy_queue") == "0", "queue")
    assert calls.read_text() == "call\n"
    assert done.status.steps["one"].attempt == 1


def test_no_secret_is_in_the_database_or_in_a_list_of_processes(
    here: Any, write: Callable[..., Path]
) -> None:
    flow = write("""
        params: {key: {type: string, secret: true}}
        flow:
          - name: log in
            source: {type: process, command: [sh, -c, "cat >&2; echo -n TOKEN"]}
            input: {stdin: "{{ env.SHOP_PASSWORD }} {{ params.key }}"}
            output: [{name: token, value: stdout, secret: true}]
          - name: use
            source: {type: process, command: [sh, -c, "cat"]}
            input: {stdin: "{{ flows['log in'].token }}"}
            output: [{name: text, value: stdout}]
    """.replace("TOKEN", GIVEN[:9] + "'" + GIVEN[9:] + "'"))
    seen: list[str] = []

    def look(_: Any) -> None:
        seen.append(here.server.dump(here.name))
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or [])
            if "flowtoy" in line:
                seen.append(line)

    done = run_flow(on_workers(flow), params={"key": "the-key-that-was-given"}, on_change=look)
    assert done.success, [step.error for step in done.status.steps.values()]
    assert done.outputs["use"] == {"text": GIVEN}
    seen += [here.server.dump(here.name), *(worker.log for worker in here.workers)]
    for secret in (SECRET, GIVEN, "the-key-that-was-given"):
        assert not any(secret in text for text in seen), secret


def test_a_worker_that_is_to_end_finishes_its_step_and_takes_nothing_new(
    here: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    go, calls = tmp_path / "go", tmp_path / "calls"
    slow = f"echo call >> {calls}; until test -e {go}; do sleep 0.05; done"
    flow = write(f"""
        flow:
          - {{name: slow, source: {{type: process, command: [sh, -c, "{slow}"]}}}}
          - {{name: next, depends_on: slow, source: {{type: process, command: ["true"]}}}}
        runner: {{executor: workers, executor_options: {{queue: ending}}}}
    """)
    ending = here.start("--queue", "ending")
    other: list[Any] = []

    def end(change: Any) -> None:
        if change.step.name == "slow" and change.step.state == "running" and not other:
            ending.signal(signal.SIGTERM)
            ending.wait_for("takes no more steps; 1 still run")
            # A run that is kept from renewing its lease is given up.
            other.append(here.launch("flowtoy_dagster", "worker", "--queue", "ending"))
            go.touch()

    done = run_flow(flow, on_change=end)
    assert done.success, [step.error for step in done.status.steps.values()]
    assert ending.process.wait(here.patience) == 0
    assert calls.read_text() == "call\n"
    assert "takes step 'next'" not in ending.log
    assert "takes step 'next'" in other[0].log
    assert other[0].end() == 0
