"""Limits of what runs at once: sources, groups and pools (language 17)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.runs.history import History


@pytest.mark.parametrize(("executor", "count"), [("warm", 10), ("multiprocess", 5)])
def test_no_more_steps_than_its_concurrency_use_a_source_at_once(
    executor: str, count: int, meter: Any
) -> None:
    # language 17.1, 17.4
    meter.wait_for_company(2)
    derived = {"base": "api", "override": {"method": "GET"}}
    done = run_flow(
        {
            "sources": {
                "api": {"type": "rest", "url": meter.url, "concurrency": 2, "timeout": 120}
            },
            "flow": [
                {"name": f"s{n}", "source": derived if n % 2 else "api"} for n in range(count)
            ],
            "runner": {"executor": executor, "max_workers": 5},
        }
    )
    assert done.success, [step.error for step in done.status.steps.values()]
    assert (meter.most, meter.served) == (2, count)


@pytest.mark.parametrize("executor", ["warm", "multiprocess", "in_process"])
def test_items_and_other_steps_share_the_concurrency_of_a_source(
    executor: str, meter: Any
) -> None:
    # language 18.6, 17.1
    meter.wait_for_company(3)  # the loop's items alone, or two of them beside the other step
    derived = {"base": "api", "override": {"method": "GET"}}
    each = {"for_each": {"in": list(range(8)), "concurrency": 4}}
    done = run_flow(
        {
            "sources": {
                "api": {"type": "rest", "url": meter.url, "concurrency": 3, "timeout": 120}
            },
            "flow": [
                {"name": "items", "source": "api", **each},
                {"name": "more items", "source": derived, **each},
                {"name": "other", "source": "api"},
            ],
            "runner": {"executor": executor, "max_workers": 3},
        }
    )
    assert done.success, [step.error for step in done.status.steps.values()]
    assert (meter.most, meter.served) == (3, 17)


def test_the_steps_of_a_group_share_its_concurrency(meter: Any) -> None:
    # language 17.2
    meter.wait_for_company(3)
    alone = {"type": "rest", "url": meter.url}
    grouped = [{"name": f"s{n}", "source": alone, "group": "reports"} for n in range(5)]
    done = run_flow(
        {
            "flow": [*grouped, {"name": "other", "source": alone}],
            "runner": {"groups": {"reports": {"concurrency": 2}}, "max_workers": 6},
        }
    )
    assert done.success
    assert (meter.most, meter.served) == (3, 6)


def test_a_pool_holds_across_runs(
    meter: Any, write: Callable[..., Path], flowtoy: Callable[..., Any]
) -> None:
    # language 17.3
    flow = write(
        f"""\
        sources: {{api: {{type: rest, url: "{meter.url}", pool: shop}}}}
        flow: [{{name: a, source: {{base: api, override: {{method: GET}}}}}}]
        """
    )
    meter.gate.clear()
    with ThreadPoolExecutor(2) as threads, History() as history:
        history.instance.event_log_storage.set_concurrency_slots("shop", 1)
        first = threads.submit(flowtoy, "run", flow)
        meter.wait_until_asked()
        second = threads.submit(flowtoy, "run", flow)
        waiting = blocked_run(history)
        state = history.status(waiting).steps["a"].state
        meter.gate.set()
    assert (first.result().code, second.result().code) == (0, 0)
    assert (meter.most, meter.served) == (1, 2)
    # A step that waits for a slot is not running.
    assert state == "pending"


def blocked_run(history: History) -> dg.DagsterRun:
    """The run of which a step waits for a slot of a pool, once there is one."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for run in history.instance.get_runs():
            events = history.instance.all_logs(run.run_id, dg.DagsterEventType.ENGINE_EVENT)
            if any("blocked" in (event.message or "") for event in events):
                return run
        time.sleep(0.1)
    raise AssertionError("no step was blocked")


def test_a_run_that_is_halted_gives_up_waiting_for_pools(
    write: Callable[..., Path], flowtoy: Callable[..., Any]
) -> None:
    # language 17.3, 9.4
    with History() as history:
        storage = history.instance.event_log_storage
        storage.set_concurrency_slots("shop", 1)
        storage.claim_concurrency_slot("shop", "another run", "its step")
    flow = write(
        """\
        flow:
          - {name: waits, source: env, pool: shop}
          - {name: fails, source: {type: process, command: ["false"]}}
        """
    )
    done = flowtoy("run", flow, "-j", timeout=120)
    assert (done.code, done.json) == (1, {"waits": None, "fails": None})
    assert "waits" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=lambda how: how.name)
def test_a_run_that_was_ended_holds_no_slot(
    how: signal.Signals, write: Callable[..., Path], tmp_path: Path, flowtoy: Callable[..., Any]
) -> None:
    # language 17.3. Looking changes nothing; the next run that uses a pool frees what a dead one
    # has left.
    started = tmp_path / "started"
    command = f"touch {started}; sleep 600"
    flow = write(
        f"flow: [{{name: a, pool: shop, source: {{type: process, command: '{command}'}}}}]"
    )
    with History() as history:
        history.instance.event_log_storage.set_concurrency_slots("shop", 1)
    run = subprocess.Popen(
        [sys.executable, "-m", "flowtoy_dagster", "run", flow], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not started.exists():
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(how)
    assert run.wait(120) == (130 if how is signal.SIGINT else -signal.SIGKILL)
    following = write("flow: [{name: b, pool: shop, source: env}]")
    assert flowtoy("run", following, timeout=120).code == 0
    with History() as history:
        info = history.instance.event_log_storage.get_concurrency_info("shop")
        assert (info.slot_count, info.active_slot_count) == (1, 0)


def test_the_limits_of_a_run_are_told_in_the_log(
    flowtoy: Callable[..., Any], write: Callable[..., Path]
) -> None:
    # language 17.4
    flow = write(
        """\
        sources: {api: {type: env, concurrency: 2, pool: shop}, rest: {type: env}}
        runner: {groups: {large: {concurrency: 1}}}
        flow: [{name: a, source: api}, {name: b, source: rest, group: large, pool: disk}]
        """
    )
    told = flowtoy("run", flow, "-q", "--max-workers", 3, "--log-level", "debug").stderr
    assert (
        "steps at once: 3 in all, source 'api' 2, group 'large' 1, "
        "pool 'disk' as Dagster's instance says, pool 'shop' as Dagster's instance says"
    ) in told
