"""Limits of what runs at once: sources, groups and pools (language 17)."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import FlowRun, run_flow
from flowtoy_dagster.runs.history import History


def requests(count: int, source: dict[str, Any], **step: Any) -> list[dict[str, Any]]:
    return [{"name": f"s{n}", "source": source, **step} for n in range(count)]


@pytest.mark.parametrize(("executor", "count"), [("warm", 10), ("multiprocess", 5)])
def test_no_more_steps_than_its_concurrency_use_a_source_at_once(
    executor: str, count: int, meter: Any
) -> None:
    # language 17.1
    meter.wait_for_company(2)
    derived = {"base": "api", "override": {"method": "GET"}}
    done = run_flow(
        {
            "sources": {"api": {"type": "rest", "url": meter.url, "concurrency": 2}},
            "flow": [
                {"name": f"s{n}", "source": derived if n % 2 else "api"} for n in range(count)
            ],
            "runner": {"executor": executor, "max_workers": 5},
        }
    )
    assert done.success
    assert (meter.most, meter.served) == (2, count)


def test_the_steps_of_a_group_share_its_concurrency(meter: Any) -> None:
    # language 17.2
    meter.wait_for_company(3)
    alone = {"type": "rest", "url": meter.url}
    done = run_flow(
        {
            "flow": [
                *requests(5, alone, group="reports"),
                {"name": "other", "source": alone},
            ],
            "runner": {"groups": {"reports": {"concurrency": 2}}, "max_workers": 6},
        }
    )
    assert done.success
    assert (meter.most, meter.served) == (3, 6)


def run_in(home: Path, config: dict[str, Any], found: list[FlowRun]) -> threading.Thread:
    thread = threading.Thread(target=lambda: found.append(run_flow(config, home=home)))
    thread.start()
    return thread


def test_a_pool_holds_across_runs(meter: Any, home: Path) -> None:
    # language 17.3
    with History() as history:
        history.instance.event_log_storage.set_concurrency_slots("api", 1)
    source = {"type": "rest", "url": meter.url, "pool": "api"}
    config = {"sources": {"api": source}, "flow": requests(2, "api")}  # type: ignore[arg-type]
    found: list[FlowRun] = []
    for thread in [run_in(home, config, found) for _ in range(2)]:
        thread.join()
    assert [run.success for run in found] == [True, True]
    assert (meter.most, meter.served) == (1, 4)
