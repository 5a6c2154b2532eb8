"""Rates of sources, with real servers and runs (language 19.5)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.errors import RunInterrupted
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.status.models import Change
from flowtoy_dagster.steps.keys.rate import rate_key
from flowtoy_dagster.store.limits.rates import RATES_FOLDER, _RateFile

Serve = Callable[..., str]

PATIENCE = 120.0


class Api:
    """A server that notes when it was asked; the first answers are as the test says."""

    def __init__(self, serve: Serve) -> None:
        self.times: list[float] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.asked = threading.Event()
        self._lock = threading.Lock()
        self.url = f"{serve(self._reply)}/"

    def _reply(self, _: object) -> tuple[int, dict[str, str], bytes]:
        with self._lock:
            self.times.append(time.monotonic())
            code, headers = self.answers.pop(0) if self.answers else (200, {})
        self.asked.set()
        return code, headers, b"{}"

    def source(self, rate: Any) -> dict[str, Any]:
        return {"type": "rest", "url": self.url, "rate": rate, "timeout": 120}


@pytest.fixture
def api(serve: Serve, made_home: Path) -> Api:
    return Api(serve)


def flow_of(api: Api, rate: Any, count: int, **runner: Any) -> dict[str, Any]:
    return {
        "sources": {"api": api.source(rate)},
        "flow": [{"name": f"s{n}", "source": "api"} for n in range(count)],
        "runner": runner,
    }


def turns_of_the_only_source(home: Path) -> list[float]:
    """When each call of a source had its turn, as the home's only file of rates has it."""
    (path,) = (home / RATES_FOLDER).iterdir()
    with path.open("rb") as opened:
        file = _RateFile(opened.fileno())
        state = file.read()
        assert state is not None
        return [file.time_of(state, back) for back in range(state.count, 0, -1)]


# language 19.5
def test_two_runs_at_once_share_the_rate_of_a_source(api: Api, home: Path) -> None:
    # The longer window is never full: it makes the home keep the moments of all turns.
    flow = flow_of(api, ["20/s", "1000/h"], 30, max_workers=4)
    with ThreadPoolExecutor(2) as threads:
        one, two = threads.map(lambda name: run_flow({**flow, "name": name}), ["one", "two"])
    assert one.success, [step.error for step in one.status.steps.values()]
    assert two.success, [step.error for step in two.status.steps.values()]
    turns, calls = turns_of_the_only_source(home), sorted(api.times)
    assert len(turns) == len(calls) == 60
    # On the clock that gives the turns, so no machine is too busy for this.
    assert all(later >= turn + 0.05 for turn, later in pairwise(turns))
    # Whatever a call does on its way, it is made after its turn.
    assert all(call >= turn for turn, call in zip(turns, calls, strict=True))


# language 19.5
@pytest.mark.parametrize("executor", ["in_process", "warm", "multiprocess"])
def test_a_server_that_wants_a_pause_pauses_the_source(executor: str, api: Api) -> None:
    api.answers = [(429, {"Retry-After": "2"})]
    flow = flow_of(api, "100/s", 3, executor=executor, max_workers=1)
    flow["flow"][0]["retry"] = {"max": 1, "delay": 0}
    done = run_flow(flow)
    assert done.success, [step.error for step in done.status.steps.values()]
    first, *others = api.times
    assert len(others) == 3  # the retry, and the steps that were not refused
    assert min(others) - first >= 1.9


# language 19.5
def test_nothing_remaining_pauses_a_source_whose_calls_succeed(api: Api) -> None:
    api.answers = [(200, {"RateLimit-Remaining": "0", "RateLimit-Reset": "1"})]
    done = run_flow(flow_of(api, "100/s", 2, executor="in_process"))
    assert done.success
    assert api.times[1] - api.times[0] >= 0.9


# language 19.5
def test_each_attempt_counts_and_the_wait_is_no_part_of_its_timeout(api: Api) -> None:
    api.answers = [(500, {}), (500, {})]
    flow = flow_of(api, "1/s", 1, executor="in_process")
    flow["flow"][0] |= {"retry": {"max": 2, "delay": 0}, "timeout": "700ms"}
    done = run_flow(flow)
    assert done.success, done.status.steps["s0"].error
    assert len(api.times) == 3
    assert api.times[2] - api.times[0] >= 1.9


# language 19.5
def test_a_wait_ends_with_the_time_of_the_run(api: Api) -> None:
    run_flow(flow_of(api, "1/h", 1, executor="in_process"))
    done = run_flow(flow_of(api, "1/h", 1, executor="in_process", timeout="2s"))
    assert not done.success
    assert len(api.times) == 1
    assert done.status.steps["s0"].error == "the run's timeout has passed"


# language 19.5
def test_a_wait_is_shown_and_ends_with_the_run(api: Api) -> None:
    flow = flow_of(api, ["1/s", "1/h"], 2, max_workers=2)
    seen: list[str] = []
    shown = threading.Event()
    run_ids: list[str] = []

    def note(change: Change) -> None:
        if change.step.waits_for:
            seen.append(change.step.waits_for)
            shown.set()

    def cancel() -> None:
        assert shown.wait(PATIENCE)
        assert api.asked.wait(PATIENCE)
        with History() as history:
            status = history.status(history.find(run_ids[0]))
            seen.extend(step.waits_for for step in status.steps.values() if step.waits_for)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=cancel, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(RunInterrupted) as ended:
        run_flow(flow, on_change=note, on_created=run_ids.append)
    assert time.monotonic() - began < PATIENCE
    assert set(seen) == {"waits for api: 1/s, 1/h"}
    assert all(not step.waits_for for step in ended.value.run.status.steps.values())
    assert len(api.times) == 1


# language 19.5, 18.6
def test_items_and_their_attempts_wait_for_their_turns(api: Api, home: Path) -> None:
    api.answers = [(500, {})]
    # The longer window makes the home keep the moments of all turns.
    flow = flow_of(api, ["10/s", "1000/h"], 1, executor="in_process")
    flow["flow"][0] |= {
        "for_each": {"in": list(range(5)), "concurrency": 5}, "retry": {"max": 1, "delay": 0}
    }
    done = run_flow(flow)
    assert done.success, [step.error for step in done.status.steps.values()]
    turns = turns_of_the_only_source(home)
    assert len(turns) == len(api.times) == 6
    assert all(later >= turn + 0.1 for turn, later in pairwise(turns))


# language 19.5
def test_sources_share_a_rate_by_their_name_and_what_they_call() -> None:
    def key(name: str, **configuration: Any) -> str:
        flow = load_flow(
            {
                "sources": {name: {"type": "rest", "rate": "1/s", **configuration}},
                "flow": [{"name": "s", "source": {"base": name, "override": {"url": "/x"}}}],
            }
        )
        return rate_key(flow.sources[name])

    one = key("api", base_url="https://a.example")
    other_words = {"timeout": 3, "headers": {"Authorization": "another"}, "rate": "9/m"}
    assert key("api", base_url="https://user:password@a.example", **other_words) == one
    assert key("another", base_url="https://a.example") != one
    assert key("api", base_url="https://b.example") != one
    assert "example" not in one
