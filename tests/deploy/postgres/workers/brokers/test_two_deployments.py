"""Deployments with databases of their own, whose steps go through one broker."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.executors.brokers.deployment import deployment_here, deployment_of
from flowtoy_dagster.engine.executors.remote import pool
from flowtoy_dagster.engine.executors.remote.database import Database
from flowtoy_dagster.engine.executors.remote.message import LONGEST, Message

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")


@pytest.mark.parametrize("name", ["redis", "dask"])
def test_workers_take_no_message_of_another_deployment(
    deployments: Any, carried: Any, server: Any, template: str, write: Callable[..., Path],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str,
) -> None:
    # The workers of the first one are idle, have more slots, and would drop what they take.
    first = carried(deployments(name))
    takes = [worker.log.count("takes step") for worker in first.workers]
    machines = dataclasses.replace(
        first.machines, folder=tmp_path, name=f"other_{name}", workers=[],
        address=server.create(f"other_{name}", template),
    )
    machines.files.mkdir(mode=0o700)
    second = dataclasses.replace(first, machines=machines, workers=[])
    ours = deployment_here()
    # What is lost is not sent again.
    for pause in ("SEND_AGAIN", "SEND_SOON"):
        monkeypatch.setattr(pool, pause, 1e6)
    flow = write(f"""
        runner: {{executor: {first.executor}, timeout: 90s}}
        flow:
          - {{name: one, source: {{type: process, command: ["true"]}}}}
          - {{name: two, depends_on: one, source: {{type: process, command: ["true"]}}}}
          - {{name: three, depends_on: two, source: {{type: process, command: ["true"]}}}}
    """)
    try:
        worker = second.start()
        for variable, value in machines.environment("carrier").items():
            monkeypatch.setenv(variable, value)
        assert deployment_here() != ours
        done = run_flow(flow)
        assert done.success, [step.error for step in done.status.steps.values()]
        assert worker.log.count("takes step") == 3
        assert [each.log.count("takes step") for each in first.workers] == takes
    finally:
        machines.close()
    # And the other way round: the first one goes on as before.
    carried(first)
    for variable, value in first.machines.environment("carrier").items():
        monkeypatch.setenv(variable, value)
    assert deployment_here() == ours
    assert run_flow(flow).success


def test_a_copy_of_a_database_is_another_deployment(server: Any) -> None:
    def identity(address: str) -> str:
        database = Database(address, 0)
        try:
            return deployment_of(database)
        finally:
            database.close()

    address = server.create("original", "template0")
    first = identity(address)
    assert identity(address) == first
    # As a dump that is restored has it: with the row of the database that it is of.
    copy = server.create("copy", "original")
    assert server.sql("copy", "SELECT id FROM flowtoy_deployments").split() == [first]
    assert identity(copy) not in ("", first)
    assert len(Message("0" * 36, 10**6).encode()) < LONGEST
