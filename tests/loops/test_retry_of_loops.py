"""What a retry of a loop calls again: what had not succeeded, and nothing else."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from connections import connected_below
from serving_commands import Serving, run_again, wait_until

from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.processes.run_process import RunProcess
from flowtoy_dagster.runs.retry import plan_retry, retry_run
from flowtoy_dagster.runs.run import run_flow
from flowtoy_dagster.runs.status.models import RunStatus
from flowtoy_dagster.tui.session import run_here
from flowtoy_dagster.tui.sources import RunHere

ITEMS = int(os.environ.get("FLOWTOY_KILL_ITEMS", "300"))
KILLS = int(os.environ.get("FLOWTOY_KILLS", "1"))


class Counting:
    """A server that counts how often each path was answered, and fails those that it is told to."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.fails: set[str] = set()
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with outer.lock:
                    bad = self.path in outer.fails
                body = b"{}" if bad else json.dumps({"path": self.path}).encode()
                self.send_response(500 if bad else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with outer.lock:
                    if not bad:
                        outer.answered[self.path] += 1
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def counting() -> Iterator[Counting]:
    server = Counting()
    yield server
    server.close()


def flow(url: str, executor: str = "in_process", count: int = 20, **each: Any) -> dict[str, Any]:
    loop = {
        "name": "details",
        "for_each": {"in": f"{{{{ range({count}) | list }}}}", "key": "k{{ item }}"},
        "source": "api",
        "input": {"url": "/items/{{ item }}"},
        "output": [{"name": "path", "value": "path"}],
        **each,
    }
    return {
        "name": "loop",
        "runner": {"executor": executor},
        "sources": {"api": {"type": "rest", "base_url": url}},
        "flow": [
            {"name": "first", "source": "env"},
            {"depends_on": "first", **loop},
            {"name": "last", "source": "env",
             "output": [{"name": "n", "value": "{{ flows.details.path | length }}"}]},
        ],
    }


def retry(**options: Any) -> tuple[Any, Any]:
    with History() as history:
        plan = plan_retry(history, history.find("last"), **options)
        return plan, retry_run(history, plan, 4)


@pytest.mark.parametrize("executor", ["in_process", "warm"])
def test_a_retry_calls_what_failed_and_says_so_before(
    executor: str, counting: Counting, made_home: Path
) -> None:
    # language 18.9
    counting.fails = {"/items/3", "/items/7"}
    first = run_flow(flow(counting.url, executor), 4)
    assert first.status.state == "failed"
    counting.fails = {"/items/7"}
    plan, second = retry()
    assert plan.lines()[1] == "details  18 of 20 reused, 2 run"
    assert second.status.state == "failed"
    counting.fails = set()
    plan, third = retry()
    assert plan.lines()[1] == "details  19 of 20 reused, 1 run"
    assert third.success, [step.error for step in third.status.steps.values()]
    assert set(counting.answered.values()) == {1}
    assert third.outputs["details"] == {"path": [f"/items/{n}" for n in range(20)]}
    assert third.status.steps["details"].items.reused == 19
    # From the step on, all of them run.
    plan, fourth = retry(from_step="details")
    assert fourth.success
    assert set(counting.answered.values()) == {2}


def test_a_retry_that_begins_before_the_loop_calls_all_items_again(
    counting: Counting, made_home: Path
) -> None:
    counting.fails = {"/items/3"}
    run_flow(flow(counting.url, count=5), 4)
    counting.fails = set()
    plan, done = retry(from_step="first")
    assert plan.reusing == {}
    assert done.success
    assert counting.answered["/items/1"] == 2


def test_items_of_another_call_are_not_reused(counting: Counting, made_home: Path) -> None:
    counting.fails = {"/items/3"}
    run_flow(flow(counting.url, count=4), 4)
    counting.fails = set()
    from flowtoy_dagster.loader import load_flow

    url = "/items/{{ item }}{{ '?x=1' if item == 0 else '' }}"
    changed = flow(counting.url, count=6, input={"url": url})
    _, done = retry(flow=load_flow(changed))
    assert done.success, [step.error for step in done.status.steps.values()]
    assert counting.answered["/items/1"] == 1
    assert counting.answered["/items/0?x=1"] == 1
    assert done.status.steps["details"].items.reused == 2


def test_an_item_whose_output_knows_a_changed_value_is_not_reused(
    counting: Counting, made_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # language 15.5, 18.9
    def config() -> Any:
        value = "{{ result.path }} {{ params.rate }} {{ env.RATE }} {{ item }} {{ run.id[:0] }}"
        output = [{"name": "path", "value": value}]
        return {"params": {"rate": 2}, **flow(counting.url, count=2, output=output)}

    monkeypatch.setenv("RATE", "2")
    counting.fails = {"/items/1"}
    run_flow(config(), 4)
    plan, again = retry()
    assert plan.lines()[1] == "details  1 of 2 reused, 1 run"
    assert again.status.steps["details"].items.reused == 1
    counting.fails = set()
    monkeypatch.setenv("RATE", "3")
    _, third = retry(params=["rate=4"])
    assert third.outputs["details"] == {"path": ["/items/0 4 3 0 ", "/items/1 4 3 1 "]}
    _, fourth = retry(from_step="details")
    assert fourth.outputs["details"] == third.outputs["details"]


def test_a_step_that_succeeded_although_items_failed_is_not_run_again(
    counting: Counting, made_home: Path
) -> None:
    # language 18.9
    counting.fails = {"/items/3"}
    tolerant = flow(counting.url, count=4)
    tolerant["flow"][1]["for_each"]["max_failures"] = 1
    tolerant["flow"][2] |= {"source": "api", "input": {"url": "/items/last"}, "output": []}
    tolerant["flow"][2]["depends_on"] = "details"
    counting.fails.add("/items/last")
    assert run_flow(tolerant, 4).status.state == "failed"
    before = dict(counting.answered)
    counting.fails = set()
    _, done = retry()
    assert done.success, [step.error for step in done.status.steps.values()]
    again = {path: count - before.get(path, 0) for path, count in counting.answered.items()}
    assert {path for path, count in again.items() if count} == {"/items/last"}


def test_dagster_s_re_execution_from_failure_reuses_items(
    counting: Counting, made_home: Path
) -> None:
    # language 18.9
    counting.fails = {"/items/3"}
    first = run_flow(flow(counting.url), 4)
    counting.fails = set()
    with History() as history:
        done = dg.execute_job(
            dg.build_reconstructable_job(
                "flowtoy_dagster.definitions", "rebuild_job", *_arguments(history, first.run_id)
            ),
            instance=history.instance,
            # As the web server tags such runs.
            tags={"dagster/is_resume_retry": "true"},
            reexecution_options=dg.ReexecutionOptions.from_failure(
                first.run_id, history.instance
            ),
        )
        assert done.success
    assert set(counting.answered.values()) == {1}
    assert len(counting.answered) == 20


def _arguments(history: History, run_id: str) -> tuple[Any, ...]:
    from flowtoy_dagster.definitions import rebuild_arguments

    run = history.instance.get_run_by_id(run_id)
    assert run is not None
    return (rebuild_arguments(history.home, run.tags["flowtoy/config"]),)


@pytest.mark.timeout(1000)
@pytest.mark.parametrize("whom", ["run", "worker"])
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the worker in /proc")
def test_a_kill_loses_only_the_items_that_were_running(
    whom: str, counting: Counting, made_home: Path, tmp_path: Path
) -> None:
    # language 18.9; `FLOWTOY_KILLS=15 FLOWTOY_KILL_ITEMS=2000` is the long form
    for _ in range(KILLS):
        counting.answered.clear()
        (tmp_path / "loop.json").write_text(json.dumps(flow(counting.url, "warm", ITEMS)))
        _kill_in_the_midst(counting, tmp_path / "loop.json", whom)
        before = Counter(counting.answered)
        plan, done = retry()
        assert done.success, [step.error for step in done.status.steps.values()]
        reused = done.status.steps["details"].items.reused
        items = plan.reusing["details"]
        assert (items.count, items.total) == (reused, ITEMS)
        assert len(counting.answered) == ITEMS
        again = sum(counting.answered.values()) - ITEMS
        # Those that were answered while the process died, of which no line was written.
        assert again == sum(before.values()) - reused
        assert again <= 4


@pytest.mark.parametrize("whom", ["run", "worker"])
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the worker in /proc")
def test_dagster_s_pages_run_a_killed_loop_again_without_what_succeeded(
    whom: str, counting: Counting, made_home: Path, tmp_path: Path
) -> None:
    # language 18.9
    import psutil

    (tmp_path / "loop.json").write_text(json.dumps(flow(counting.url, "warm", ITEMS)))
    served = Serving(("webui", "loop.json", "--port", "0"), tmp_path, made_home)
    try:
        wait_until(lambda: sum(counting.answered.values()) > ITEMS // 6, "items are called")
        worker = _worker_of(counting, served.process.pid)
        assert worker is not None
        below = psutil.Process(served.process.pid).children(recursive=True)
        run = next(one.pid for one in below if "run_process_main" in " ".join(one.cmdline()))
        os.kill(run if whom == "run" else worker, signal.SIGKILL)
        failed = served.wait_for_run("failed")["dagster_run_id"]
        before = _settled(counting)
        run_again(served, failed, "FROM_FAILURE")
        items = served.wait_for_run("succeeded")["steps"]["details"]["items"]
    finally:
        served.close()
    assert items["reused"] >= before - 4
    assert len(counting.answered) == ITEMS
    assert sum(counting.answered.values()) - ITEMS == before - items["reused"]


def _kill_in_the_midst(counting: Counting, path: Path, whom: str) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "flowtoy_dagster", "run", str(path), "--max-workers", "4"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wanted = random.randint(10, ITEMS // 2)
    deadline = time.monotonic() + 120
    while sum(counting.answered.values()) < wanted and run.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    victim = run.pid if whom == "run" else _worker_of(counting, run.pid)
    if victim is not None:
        os.kill(victim, signal.SIGKILL)
    run.wait(120)
    assert run.returncode != 0
    _settled(counting)


def _settled(counting: Counting) -> int:
    """How many calls were answered, once no more come."""
    settled = -1
    while settled != (now := sum(counting.answered.values())):
        settled = now
        time.sleep(0.5)
    return settled


def _worker_of(counting: Counting, started: int) -> int | None:
    """The process below one that has connections to the server."""
    return next(iter(connected_below(started, counting.server.server_port)), None)


def test_items_are_shown_and_found_by_state_and_key(
    counting: Counting, flowtoy: Callable[..., Any], tmp_path: Path
) -> None:
    # language 18.11
    config = {
        "flow": [
            {
                "name": "each",
                "for_each": {"in": ["a", "b", "secret-word", "two\nlines"], "key": "{{ item }}"},
                "source": "process",
                "input": {
                    "command": ["sh", "-c", 'echo "this is $1"; [ "$1" != b ]', "-", "{{ item }}"],
                    "env": {"TOKEN": "{{ env.MY_TOKEN }}"},
                },
                "output": [{"name": "text", "value": "stdout"}],
            },
            {"name": "once", "source": "env"},
        ]
    }
    (tmp_path / "loop.json").write_text(json.dumps(config))
    env = {"MY_TOKEN": "secret-word"}
    assert flowtoy("run", tmp_path / "loop.json", env=env).code == 1
    shown = flowtoy("runs", "show", "last", "each", env=env).stdout
    assert [line.split() for line in shown.splitlines()] == [
        ["STATE", "ATTEMPTS", "KEY"],
        ["succeeded", "1", "a"],
        ["failed", "1", "b", "sh", "exited", "with", "code", "1"],
        ["succeeded", "1", "***"],
        ["succeeded", "1", "two", "lines"],
        ["4", "items:", "3", "succeeded,", "1", "failed"],
    ]
    failed = flowtoy("runs", "show", "last", "each", "--state", "failed", "--json", env=env).json
    assert [(item["key"], item["state"]) for item in failed] == [("b", "failed")]
    printed = flowtoy("runs", "logs", "last", "each", "--item", "b", env=env)
    assert printed.stdout == "this is b\n"
    hidden = flowtoy("runs", "logs", "last", "each", "--item", "***", env=env)
    assert hidden.stdout == "this is ***\n"
    for arguments, told in (
        (["show", "last", "nope"], "there is no step 'nope'"),
        (["show", "last", "once"], "step 'once' has no items: it has no 'for_each'"),
        (["show", "last", "each", "--state", "fail"], "there is no state 'fail'"),
        (["show", "last", "--state", "failed"], "--state is for the items of a step"),
        (["logs", "last", "--item", "b"], "--item is an item of a step"),
        (["logs", "last", "each", "--item", "z"], "step 'each' has no item 'z' that has ended"),
    ):
        done = flowtoy("runs", *arguments, env=env)
        assert (done.code, told in done.stderr) == (2, True), (arguments, done.stderr)


def end_of(run: RunHere, after: str = "") -> RunStatus:
    """The status of the run when it has ended; of one after another, where that is named."""
    while True:
        status = run.status()
        if status.run_id != after and status.state in ("failed", "succeeded"):
            return status
        time.sleep(0.05)


def test_a_retry_in_the_terminal_reuses_what_succeeded(tmp_path: Path, made_home: Path) -> None:
    # language 18.9
    calls = tmp_path / "calls"
    script = f'echo "$1" >>{calls}; [ "$1" != 2 ] || [ "$(grep -c 2 {calls})" = 2 ]'
    each = {
        "name": "each", "for_each": [1, 3, 2], "source": "process",
        "input": {"command": ["sh", "-c", script, "-", "{{ item }}"]},
    }
    with open(tmp_path / "printed", "w") as printed, run_here(
        load_flow({"flow": [each]}), 1, RunProcess(printed), printed
    ) as run:
        first = end_of(run)
        assert first.state == "failed", first
        run.retry()
        again = end_of(run, after=first.run_id)
        assert again.state == "succeeded", again
    assert calls.read_text().split() == ["1", "3", "2", "2"]
