"""Workers that have lost what they run: nothing of it is stored, and nothing of it goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.executors.remote.database import Database
from flowtoy_dagster.engine.executors.remote.leases import Leases
from flowtoy_dagster.engine.fence import Fence
from flowtoy_dagster.engine.sites.site import Site
from flowtoy_dagster.engine.storage import postgres
from flowtoy_dagster.engine.storage.instances import event_log_of
from flowtoy_dagster.runs.history import History

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")


@pytest.mark.timeout(500)
def test_a_process_that_outlives_the_lease_of_its_worker_stores_nothing(
    here: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    # The worker alone is stopped. What it had started goes on, beside the second attempt and
    # after it, and has a result of its own.
    attempt = (
        "n=$(ls | grep -c ^{0}-call); touch {0}-call$n; "
        "until test -e {0}-go$n; do sleep 0.05; done; touch {0}-end$n; echo -n {0}$n"
    )
    steps = "".join(f"""
          - name: {name}
            retry: {{max: 1, delay: 0, on: crash}}
            source: {{type: process, cwd: {tmp_path},
                      command: [sh, -c, "{attempt.format(name)}"]}}
            output: [{{name: text, value: stdout}}]""" for name in ("beside", "after"))
    flow = write(f"""
        flow:{steps}
          - name: last
            depends_on: [beside, after]
            source: {{type: process, cwd: {tmp_path},
                      command: [sh, -c, "until test -e last-go; do sleep 0.05; done"]}}
        runner: {{executor: workers, executor_options: {{queue: outlives}}}}
    """)
    first = here.start("--queue", "outlives", "-c", "2")
    done: list[Any] = []
    run = threading.Thread(target=lambda: done.append(run_flow(flow)))
    run.start()

    def wait_for(*names: str) -> None:
        here.wait_until(lambda: all((tmp_path / name).exists() for name in names), str(names))

    def end_of_first(name: str) -> None:
        (tmp_path / f"{name}-go0").touch()
        wait_for(f"{name}-end0")
        time.sleep(2)  # it may store its result now

    wait_for("beside-call0", "after-call0")
    first.signal(signal.SIGSTOP)
    second = here.start("--queue", "outlives", "-c", "3")
    wait_for("beside-call1", "after-call1")
    end_of_first("beside")
    for name in ("beside", "after"):
        (tmp_path / f"{name}-go1").touch()
    second.wait_for("takes step 'last'")
    end_of_first("after")
    (tmp_path / "last-go").touch()
    run.join()
    assert done[0].success, [step.error for step in done[0].status.steps.values()]
    assert done[0].outputs["beside"] == {"text": "beside1"}
    assert done[0].outputs["after"] == {"text": "after1"}
    with History() as history:
        found = history.find("last")
        ends = [
            entry.step_key for entry in history.instance.all_logs(found.run_id)
            if entry.dagster_event and entry.dagster_event.event_type_value == "STEP_SUCCESS"
        ]
        assert sorted(ends) == ["after", "beside", "last"]
        assert history.status(found).steps["beside"].attempt == 2
    first.signal(signal.SIGCONT)
    first.wait_for("is lost: it was given to another worker")
    assert first.end() == 0


def test_an_event_is_stored_only_while_its_step_is_held(
    here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end() -> None:
        raise SystemExit("waits to be killed")

    monkeypatch.setattr(postgres, "wait_to_be_killed", end)
    with contextlib.closing(Database(here.address, 0)) as database:
        Leases(database, Site("0.2", "3.12.1", 1, "f00", "here"))
    done = run_flow({"flow": [{"name": "one", "source": "env"}]})
    here.sql("INSERT INTO flowtoy_leases (run_id, turn, step_key, holder) VALUES "
             f"('{done.run_id}', 1, 'one', 'this')")
    with History() as history:
        log = event_log_of(history.instance)
        event = history.instance.all_logs(done.run_id)[0]

        def stored() -> int:
            return len(history.instance.all_logs(done.run_id))

        before = stored()
        monkeypatch.setattr(log, "fence", Fence(done.run_id, 1, "this"))
        log.store_event(event)
        assert stored() == before + 1
        for fence in (Fence(done.run_id, 1, "another"), Fence(done.run_id, 2, "this")):
            monkeypatch.setattr(log, "fence", fence)
            with pytest.raises(SystemExit, match="waits to be killed"):
                log.store_event(event)
        here.sql("UPDATE flowtoy_leases SET ended = true WHERE holder = 'this'")
        monkeypatch.setattr(log, "fence", Fence(done.run_id, 1, "this"))
        with pytest.raises(SystemExit, match="waits to be killed"):
            log.store_event(event)
        assert stored() == before + 1


@pytest.mark.timeout(500)
def test_a_worker_ends_the_steps_of_a_run_whose_process_is_gone_and_begins_no_others(
    here: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    flow = write(f"""
        flow:
          - name: one
            source: {{type: process, command: [sh, -c, "echo $$ > {tmp_path}/pid; sleep 600"]}}
          - name: two
            source: {{type: process, command: [touch, "{tmp_path}/two"]}}
        runner: {{executor: workers, executor_options: {{queue: orphans}}}}
    """)
    worker = here.start("--queue", "orphans")
    pid = os.fork()
    if pid == 0:
        os.setsid()
        run_flow(flow)
        os._exit(0)
    waiting = "SELECT count(*) FROM flowtoy_leases WHERE step_key = 'two'"
    command = tmp_path / "pid"
    here.wait_until(lambda: command.exists() and command.read_text().strip(), "the command")
    here.wait_until(lambda: here.sql(waiting) == "1", "the other step")
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    worker.wait_for("is lost: the process that executes the run was not seen")
    here.wait_until(lambda: not psutil.pid_exists(int(command.read_text())), "its end")
    # Its message is there yet; the worker has a free slot, takes it and drops it.
    queued = "SELECT count(*) FROM flowtoy_queue WHERE queue = 'orphans'"
    here.wait_until(lambda: here.sql(queued) == "0", "the queue")
    assert worker.end() == 0
    assert "takes step 'two'" not in worker.log
    assert not (tmp_path / "two").exists()


def test_limits_of_a_run_hold_over_its_workers(
    here: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    # language 10.5, 17.2
    def alone(name: str) -> str:
        place = tmp_path / name
        return f"mkdir {place} && sleep 0.3 && rmdir {place}"

    by_source = "".join(f"""
          - {{name: source {number}, source: one at a time, input: {{command: [sh, -c,
             "{alone('source')}"]}}}}""" for number in range(3))
    by_group = "".join(f"""
          - {{name: group {number}, group: few, source: {{type: process, command: [sh, -c,
             "{alone('group')}"]}}}}""" for number in range(3))
    flow = write(f"""
        sources: {{one at a time: {{type: process, concurrency: 1}}}}
        flow:{by_source}{by_group}
          - name: asks
            until: "'3' in result.stdout"
            every: 100ms
            source: {{type: process, cwd: {tmp_path}, command: [sh, -c, "echo x >> asked; wc -l <
              asked"]}}
        runner:
          {{executor: workers, executor_options: {{queue: limits}}, groups: {{few: {{concurrency:
           1}}}}, on_error: continue}}
    """)
    # Each has one slot: two steps that run at once are on two of them.
    workers = [here.start("--queue", "limits") for _ in range(2)]
    done = run_flow(flow)
    states = {name: (step.state, step.error) for name, step in done.status.steps.items()}
    assert set(states.values()) == {("succeeded", None)}, states
    assert (tmp_path / "asked").read_text() == "x\n" * 3
    for worker in workers:
        assert "takes step" in worker.log
        assert worker.end() == 0
