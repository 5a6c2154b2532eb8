"""A home that has runs of other jobs, too: ours are told apart from theirs."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from flowtoy_dagster import UsageError, run_flow
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.prune import prune_runs

FLOW = {"runner": {"executor": "in_process"}, "flow": [{"name": "ok", "source": "env"}]}


@dg.op
def work() -> None:
    """Somebody else's work."""


@dg.job
def theirs() -> None:
    """Somebody else's job."""
    work()


def run_theirs(home: Path) -> str:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return theirs.execute_in_process(instance=instance).run_id


def test_commands_touch_the_runs_of_flows_alone(made_home: Path) -> None:
    with History() as history:
        assert history.runs() == []
        with pytest.raises(UsageError, match="there is no run yet"):
            history.find("last")
    before = run_theirs(made_home)
    first = run_flow({"name": "first", **FLOW}).run_id
    second = run_flow({"name": "second", **FLOW}).run_id
    after = [run_theirs(made_home) for _ in range(2)]
    with History() as history:
        assert [run.run_id for run in history.runs()] == [second, first]
        assert [run.run_id for run in history.runs(1)] == [second]
        assert history.find("last").run_id == second
        assert history.find("last:first").run_id == first
        with pytest.raises(UsageError, match="there is no run of a flow 'theirs'"):
            history.find("last:theirs")
        with pytest.raises(UsageError, match="is not a run of a flow"):
            history.find(after[0])
        with pytest.raises(UsageError, match="there is no run"):
            history.find(after[0][:12])
        assert prune_runs(history, 1) == [first]
        assert prune_runs(history, 0) == [second]
        left = {run.run_id for run in history.instance.get_runs()}
        assert left == {before, *after}
        assert len(history.instance.all_logs(before)) > 0
