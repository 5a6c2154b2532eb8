"""Snapshots of plans: found without being read, and read once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.engine.storage.instances import open_instance


@pytest.fixture
def instance(made_home: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(open_home(made_home)) as found:
        yield found


@dg.op
def one() -> None:
    """Nothing."""


@dg.job
def some() -> None:
    """A job of one step."""
    one()


def reads_of(storage: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the snapshots that are read from now on."""
    found: list[str] = []
    read = storage._get_snapshot
    monkeypatch.setattr(storage, "_get_snapshot", lambda key: (found.append(key), read(key))[1])
    return found


def test_a_snapshot_that_this_process_has_stored_is_not_read(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = reads_of(instance.run_storage, monkeypatch)
    first = instance.create_run_for_job(some)
    again = instance.create_run_for_job(some)
    key = first.execution_plan_snapshot_id
    assert key is not None
    assert again.execution_plan_snapshot_id == key
    assert [step.key for step in instance.get_execution_plan_snapshot(key).steps] == ["one"]
    assert reads == []


def test_a_snapshot_of_another_process_is_read_once(
    instance: dg.DagsterInstance, made_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = instance.create_run_for_job(some).execution_plan_snapshot_id
    assert key is not None
    with open_instance(made_home) as other:
        reads = reads_of(other.run_storage, monkeypatch)
        assert other.run_storage.has_execution_plan_snapshot(key)
        assert not other.run_storage.has_execution_plan_snapshot("0" * 40)
        assert reads == []
        found = [other.get_execution_plan_snapshot(key) for _ in range(2)]
        assert found[0] == found[1] == instance.get_execution_plan_snapshot(key)
        assert other.run_storage.get_execution_plan_snapshot("0" * 40) is None
        assert reads == [key, "0" * 40]
