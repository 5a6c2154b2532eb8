"""`run_flow`: what it takes, what it gives, and in which order the steps ran."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pytest
import shop_api  # type: ignore[import-not-found]

from flowtoy_dagster import RunError, UsageError, load_flow, run_flow
from flowtoy_dagster.flow.graph import worker_count
from flowtoy_dagster.runs.run import FlowRun

EXAMPLES = Path(__file__).parents[2] / "examples"
HELLO: dict[str, Any] = {
    "flow": [
        {
            "name": "say_hello",
            "source": "process",
            "input": {"command": ["echo", "hello"]},
            "output": [{"name": "greeting", "value": "stdout"}],
        }
    ]
}
Spans = dict[str, tuple[float, float]]


@pytest.fixture(autouse=True)
def used_before(request: pytest.FixtureRequest) -> None:
    """The home folder as if it had been used before, but for tests that ask for it."""
    if "home" not in request.fixturenames:
        request.getfixturevalue("made_home")


def events_of(run: FlowRun) -> list[dg.EventLogEntry]:
    """Everything that the home has stored of a run."""
    with dg.DagsterInstance.from_config(str(run.home)) as instance:
        return list(instance.all_logs(run.run_id))


def spans_of(run: FlowRun) -> Spans:
    """When each step started and ended, by the event log."""
    starts, ends = {}, {}
    for entry in events_of(run):
        event = entry.dagster_event
        if event is not None and event.step_key is not None:
            if event.event_type_value == "STEP_START":
                starts[event.step_key] = entry.timestamp
            elif event.event_type_value == "STEP_SUCCESS":
                ends[event.step_key] = entry.timestamp
    return {key: (starts[key], ends[key]) for key in starts}


def most_at_once(spans: Spans) -> int:
    """How many steps ran at the same time."""
    return max(sum(s <= start < e for s, e in spans.values()) for start, _ in spans.values())


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`examples/shop_api.py`, with its folder as the working directory and `python` at hand."""
    monkeypatch.chdir(EXAMPLES)
    folders = [os.path.dirname(sys.executable), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(folders))
    monkeypatch.setenv("NO_PROXY", shop_api.HOST)
    monkeypatch.setenv("no_proxy", shop_api.HOST)
    return shop_api


def answer_together(shop: ModuleType, monkeypatch: pytest.MonkeyPatch, *paths: str) -> None:
    """Let the shop answer the first request of these paths when all of them have been asked for."""
    barrier = threading.Barrier(len(paths))

    def held(endpoint: Any) -> Any:
        first = iter([True])

        def answer(*arguments: Any) -> Any:
            if next(first, False):
                barrier.wait(timeout=200)
            return endpoint.answer(*arguments)

        return endpoint._replace(answer=answer) if endpoint.path in paths else endpoint

    monkeypatch.setattr(shop, "_ENDPOINTS", tuple(map(held, shop._ENDPOINTS)))


def test_steps_that_need_nothing_from_each_other_run_at_the_same_time(
    shop: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # language 8.4; the guide's "Automatic parallel execution"
    answer_together(shop, monkeypatch, "/users", "/products", "/orders")
    with shop.ShopApi() as api:
        monkeypatch.setenv("SHOP_API", api.address)
        run = run_flow("parallel.yaml")
    assert run.success
    assert run.outputs["fetch_orders"] == {"orders": shop.ORDERS}
    assert most_at_once(spans_of(run)) == 3


def test_steps_run_after_those_that_they_refer_to_and_beside_each_other(
    shop: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # language 8.1; the guide's "Mix parallel and sequential steps"
    answer_together(shop, monkeypatch, "/users", "/products")
    with shop.ShopApi(require_token=True) as api:
        monkeypatch.setenv("SHOP_API", api.address)
        run = run_flow("mixed.yaml")
    assert run.success, run.status
    spans = spans_of(run)
    fetched = [spans["fetch_users"], spans["fetch_products"]]
    assert spans["authenticate"][1] <= min(start for start, _ in fetched)
    assert max(start for start, _ in fetched) < min(end for _, end in fetched)
    assert max(end for _, end in fetched) <= spans["combine_data"][0]


def test_a_step_runs_after_the_one_in_its_depends_on(
    shop: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # language 8.1; the guide's "Control parallelism with explicit dependencies"
    with shop.ShopApi() as api:
        monkeypatch.setenv("SHOP_API", api.address)
        run = run_flow("explicit_order.yaml")
    assert run.success
    spans = spans_of(run)
    assert spans["create_database"][1] <= spans["create_schema"][0]
    assert [request.path for request in api.requests] == ["/databases", "/databases/db-1/schema"]


def ten_steps(script: str, folder: Path) -> dict[str, Any]:
    """Ten shell steps that may all run at once; `$1` is the step's number."""
    folder.mkdir()
    source = {"type": "process", "cwd": str(folder), "timeout": 60}
    return {
        "flow": [
            {"name": f"s{n}", "source": source, "input": {"command": ["sh", "-c", script, "-", n]}}
            for n in map(str, range(10))
        ]
    }


def test_no_more_steps_run_at_once_than_max_workers(tmp_path: Path) -> None:
    # language 10.5; the guide's "Limit concurrent workers"
    run = run_flow(ten_steps("sleep 0.1", tmp_path / "place"), 2)
    assert run.success
    spans = spans_of(run)
    assert len(spans) == 10
    assert most_at_once(spans) <= 2


def test_as_many_steps_run_at_once_as_max_workers_allows(tmp_path: Path) -> None:
    # language 10.5. Each step ends only when all ten have started.
    meet = "touch s$1; until [ $(ls | wc -l) -ge 10 ]; do sleep 0.02; done"
    run = run_flow(ten_steps(meet, tmp_path / "place"), 10)
    assert run.success
    assert most_at_once(spans_of(run)) == 10


@pytest.mark.parametrize("form", ["text", "path", "paths", "mapping", "flow"])
def test_every_form_of_a_configuration_runs(
    form: str, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write("sources: {shell: {type: process}}\nx-note: 1", "base.yaml")
    more = write(
        """
        flow:
          - name: first
            source: process
            input: {command: [echo, "1"]}
            output: [{name: number, value: json}]
          - name: second
            source: process
            input: {command: [echo, "{{ flows.first.number + 1 }}"]}
            output: [{name: number, value: json}, {name: text, value: stdout}]
        """,
        "more.yaml",
    )
    forms: dict[str, Any] = {
        "text": str(more),
        "path": more,
        "paths": [base, more],
        "mapping": load_flow(more).config,
        "flow": load_flow([base, more]),
    }
    run = run_flow(forms[form])
    # language 12
    assert run.outputs == {"first": {"number": 1}, "second": {"number": 2, "text": "2\n"}}
    assert run.success
    assert run.status.state == "succeeded"
    assert run.status.run_id == run.run_id
    assert {name: step.state for name, step in run.status.steps.items()} == {
        "first": "succeeded",
        "second": "succeeded",
    }
    # language 2: the name of the first file
    if form in ("text", "path"):
        assert run.status.name == "more"
    elif form != "mapping":
        assert run.status.name == "base"


def test_a_failed_step_is_told_of_and_no_exception() -> None:
    # language 9.4, 9.6
    config = {
        "flow": [
            {"name": "bad", "source": "process", "input": {"command": ["sh", "-c", "exit 3"]}},
            {"name": "after", "source": "process", "input": {"command": "true"},
             "depends_on": "bad"},
        ]
    }
    changes = []
    run = run_flow(config, on_change=lambda change: changes.append(
        (change.step.name, change.step.state)))
    assert not run.success
    assert run.status.state == "failed"
    assert run.outputs == {"bad": None, "after": None}
    assert "sh exited with code 3" in (run.status.steps["bad"].error or "")
    assert run.status.steps["after"].state == "skipped"
    assert changes[:2] == [("bad", "running"), ("bad", "failed")]
    assert changes[-1] == ("after", "skipped")


@pytest.mark.parametrize("number", [0, -1])
def test_less_than_one_worker_is_refused_before_anything_is_made(number: int, home: Path) -> None:
    # language 10.5
    with pytest.raises(UsageError, match=f"max-workers must be at least 1, got {number}"):
        run_flow(HELLO, number)
    assert list(home.iterdir()) == []


def test_the_number_of_workers_is_the_callers_or_the_flows_or_the_default() -> None:
    # language 10.5
    plain = load_flow(HELLO)
    of_flow = load_flow({**HELLO, "runner": {"max_workers": 7}})
    assert worker_count(of_flow, 2) == 2
    assert worker_count(of_flow, None) == 7
    assert worker_count(plain, None) == 4  # there are never fewer than one thread
    assert worker_count(plain, 9) == 9


def test_a_home_can_be_given(tmp_path: Path, home: Path) -> None:
    run = run_flow(HELLO, home=tmp_path / "given", tags={"team": "blue"})
    assert run.home == tmp_path / "given"
    assert (tmp_path / "given" / "dagster.yaml").exists()
    assert list(home.iterdir()) == []
    with dg.DagsterInstance.from_config(str(run.home)) as instance:
        (stored,) = instance.get_runs()
    assert stored.run_id == run.run_id
    assert stored.tags["team"] == "blue"


def test_each_run_of_a_process_sees_the_environment_of_its_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = {
        "flow": [
            {"name": "env", "source": {"type": "env", "vars": ["FLAVOUR", "GONE"]},
             "output": [{"name": "all"}]},
            {"name": "command", "source": "process",
             "input": {"command": ["sh", "-c", "echo $FLAVOUR $GONE; pwd"]},
             "output": [{"name": "text", "value": "stdout"}]},
        ]
    }
    monkeypatch.setenv("FLAVOUR", "sweet")
    monkeypatch.setenv("GONE", "not yet")
    monkeypatch.chdir(tmp_path)
    first = run_flow(config)
    monkeypatch.setenv("FLAVOUR", "sour")
    monkeypatch.delenv("GONE")
    monkeypatch.chdir("/")
    second = run_flow(config)
    assert first.outputs == {
        "env": {"all": {"FLAVOUR": "sweet", "GONE": "not yet"}},
        "command": {"text": f"sweet not yet\n{tmp_path}\n"},
    }
    assert second.outputs == {
        "env": {"all": {"FLAVOUR": "sour", "GONE": None}},
        "command": {"text": "sour\n/\n"},
    }
    assert first.run_id != second.run_id
    assert first.home == second.home


def test_a_process_with_threads_runs_flows(capfd: pytest.CaptureFixture[str]) -> None:
    # Such a process must not be forked: the workers come from a Python of its own.
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        run = run_flow(HELLO)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert run.outputs == {"say_hello": {"greeting": "hello\n"}}
    assert capfd.readouterr().out == ""


def test_eight_runs_at_once_on_one_new_home_lose_nothing(
    write: Callable[..., Path], home: Path
) -> None:
    # runtime 12
    path = write(
        """
        flow:
          - {name: a, source: process, input: {command: [echo, a]}, output: [{name: x}]}
          - {name: b, source: process, input: {command: [echo, b]}, output: [{name: x}]}
          - name: c
            source: process
            input: {command: [echo, "{{ flows.a.x.stdout }}{{ flows.b.x.stdout }}"]}
        """
    )
    command = [sys.executable, "-m", "flowtoy_dagster", "run", str(path), "-q"]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    for process in running:
        _, stderr = process.communicate(timeout=200)
        assert process.returncode == 0, stderr
        assert "lock" not in stderr
    whole = {"STEP_START", "STEP_OUTPUT", "STEP_SUCCESS"}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = instance.get_runs()
        assert [run.status.value for run in runs] == ["SUCCESS"] * 8
        for run in runs:
            events = [entry.dagster_event for entry in instance.all_logs(run.run_id)]
            told = {(e.step_key, e.event_type_value) for e in events if e is not None}
            assert told >= {(key, kind) for key in "abc" for kind in whole}
            assert (None, "PIPELINE_START") in told
            assert (None, "PIPELINE_SUCCESS") in told


@pytest.mark.parametrize("executor", ["in_process", "warm"])
def test_a_home_that_is_deleted_while_a_run_goes_on_is_an_error(
    executor: str, made_home: Path
) -> None:
    gone = {
        "name": "gone", "source": {"type": "process"},
        "input": {"command": ["rm", "-rf", str(made_home)]},
    }
    with pytest.raises(RunError, match=r"the home folder .* was deleted while the run went on"):
        run_flow({"runner": {"executor": executor}, "flow": [gone]}, 1)


# Dagster calls the class of a check deprecated, also when an event is unpickled.
@pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")
@pytest.mark.parametrize("executor", ["in_process", "multiprocess"])
@pytest.mark.timeout(300)
def test_what_a_step_waits_for_is_told_while_it_waits(executor: str, tmp_path: Path) -> None:
    go = tmp_path / "go"
    seen = []

    def look(change: Any) -> None:
        if change.step.waits_for:
            seen.append(change.step.waits_for)
            go.touch()

    run = run_flow({
        "runner": {"executor": executor},
        "flow": [{
            "name": "report",
            "source": {"type": "process", "command": f"[ -e {go} ] && echo done || echo busy"},
            "until": "'done' in result.stdout", "every": "100ms", "for": "60s",
        }],
    }, on_change=look)
    assert run.success, [step.error for step in run.status.steps.values()]
    assert seen[0] == "is not done after 1 call, asks again every 0.1 s"
