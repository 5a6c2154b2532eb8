"""Pruning while others make runs, retries and code locations (runtime 5)."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowtoy_dagster import RunError, load_flow, run_flow
from flowtoy_dagster.engine.tags import CONFIG_TAG
from flowtoy_dagster.runs import create
from flowtoy_dagster.runs.create import create_run
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.prune import prune_runs
from flowtoy_dagster.runs.retry import plan_retry, retry_run
from flowtoy_dagster.store.configs import ConfigStore, configs_of

pytestmark = pytest.mark.usefixtures("made_home")


def flow_that(name: str, command: str = "true") -> dict[str, Any]:
    return {
        "name": name,
        "runner": {"executor": "in_process"},
        "flow": [{"name": "a", "source": {"type": "process"}, "input": {"command": command}}],
    }


class Gate:
    """A place where a thread waits, once it is there, until it is let go."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()

    def stop(self) -> None:
        self._reached.set()
        assert self._open.wait(60)

    @contextmanager
    def stopped(self, work: Callable[[], Any]) -> Iterator[Future[Any]]:
        """While the block runs, the work is stopped here; it ends after the block."""
        with ThreadPoolExecutor() as pool:
            future = pool.submit(work)
            assert self._reached.wait(60)
            try:
                yield future
            finally:
                self._open.set()


def stopping_after(function: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    def called(*args: Any, **options: Any) -> Any:
        found = function(*args, **options)
        gate.stop()
        return found

    return called


def asked_for(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when somebody asks to be alone with the configurations."""
    asked, lock = threading.Event(), ConfigStore._lock

    def asking(self: ConfigStore, *, alone: bool) -> Any:
        if alone:
            asked.set()
        return lock(self, alone=alone)

    monkeypatch.setattr(ConfigStore, "_lock", asking)
    return asked


def prune_all() -> list[str]:
    with History() as history:
        return prune_runs(history, 0)


@pytest.mark.parametrize("old_run", [False, True])
def test_a_run_that_is_being_made_keeps_its_configuration(
    old_run: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = load_flow(flow_that("new"))
    if old_run:
        run_flow(flow)
    gate, asked = Gate(), asked_for(monkeypatch)
    monkeypatch.setattr(create, "_saved_job", stopping_after(create._saved_job, gate))

    def make() -> str:
        with History() as history:
            return create_run(history, flow, 1)[1].run_id

    with ThreadPoolExecutor() as pool:
        with gate.stopped(make) as made:
            pruning = pool.submit(prune_all)
            assert asked.wait(60)
        pruning.result(60)
    with History() as history:
        run = history.find(made.result(60))
        assert history.flow(run).name == "new"


def test_what_prepares_a_run_keeps_its_configuration_until_the_job_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flow, gate, asked = load_flow(flow_that("new")), Gate(), asked_for(monkeypatch)
    monkeypatch.setattr(ConfigStore, "save", stopping_after(ConfigStore.save, gate))
    with ThreadPoolExecutor() as pool:
        with gate.stopped(lambda: create.prepare_run(flow, 1)) as prepared:
            pruning = pool.submit(prune_all)
            assert asked.wait(60)
        prepared.result(60)
        pruning.result(60)


def test_a_run_is_kept_of_which_a_retry_is_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = run_flow(flow_that("old", "false"))
    gate, asked = Gate(), asked_for(monkeypatch)
    monkeypatch.setattr(create, "_saved_job", stopping_after(create._saved_job, gate))

    def retry() -> Any:
        with History() as history:
            return retry_run(history, plan_retry(history, history.find("last")), 1)

    with ThreadPoolExecutor() as pool:
        with gate.stopped(retry) as retried:
            pruning = pool.submit(prune_all)
            assert asked.wait(60)
        assert pruning.result(60) == []
        assert retried.result(60).status.state == "failed"
    with History() as history:
        assert [run.retry_of for run in history.runs()] == [parent.run_id, None]
        assert history.flow(history.find("last")).name == "old"


def test_a_retry_of_a_run_that_was_pruned_meanwhile_is_a_clear_error() -> None:
    run_flow(flow_that("old", "false"))
    with History() as history:
        plan = plan_retry(history, history.find("last"))
        prune_all()
        with pytest.raises(RunError, match=r"run \w{8} has been deleted meanwhile"):
            retry_run(history, plan, 1)
        assert history.runs() == []


def test_a_code_location_that_is_loading_keeps_its_configurations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowtoy_dagster.definitions import flow_repository

    (tmp_path / "shop.yaml").write_text(
        "flow: [{name: a, source: {type: process}, input: {command: 'true'}}]"
    )
    monkeypatch.setenv("FLOWTOY_PATH", str(tmp_path / "shop.yaml"))
    gate, asked = Gate(), asked_for(monkeypatch)
    monkeypatch.setattr(ConfigStore, "save", stopping_after(ConfigStore.save, gate))

    def load() -> dg.JobDefinition:
        job: dg.JobDefinition = flow_repository().get_job("shop")
        return job

    with ThreadPoolExecutor() as pool:
        with gate.stopped(load) as loaded:
            pruning = pool.submit(prune_all)
            assert asked.wait(60)
        pruning.result(60)
    with History() as history:
        assert configs_of(history.home).read(loaded.result(60).tags[CONFIG_TAG])


def test_who_saves_and_who_deletes_wait_for_each_other_in_whatever_process(
    tmp_path: Path,
) -> None:
    configs, (read, write) = configs_of(tmp_path), os.pipe()
    with configs.keeping(), configs.keeping():  # savers don't wait for each other
        child = os.fork()  # it has all descriptors of ours, and must not hold the lock by them
        if child == 0:
            try:
                signal.alarm(60)
                with configs_of(tmp_path).alone():
                    os.write(write, b"alone")
            finally:
                os._exit(0)
        os.write(write, b"kept ")
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(read, 100) == b"kept alone"
    os.close(read)
    os.close(write)
