"""Which run executed a step, over retries of retries."""

from __future__ import annotations

import dagster as dg

from flowtoy_dagster.engine.jobs.reuse import Origins


def retry_of(parent: str | None, run_id: str, *steps: str) -> dg.DagsterRun:
    return dg.DagsterRun(
        job_name="f", run_id=run_id, step_keys_to_execute=list(steps) or None,
        parent_run_id=parent, root_run_id="first" if parent else None,
    )


def test_a_step_is_of_the_last_run_that_executed_it() -> None:
    runs = {
        run.run_id: run
        for run in (
            retry_of(None, "first"), retry_of("first", "second", "a", "b"),
            retry_of("second", "third", "b"),
        )
    }
    looked: list[str] = []

    def find(run_id: str) -> dg.DagsterRun | None:
        looked.append(run_id)
        return runs.get(run_id)

    origins = Origins(runs["third"], find)
    assert origins.of("b") == "third"
    assert looked == []
    assert [origins.of(key) for key in ("a", "c", "b", "d", "a")] == [
        "second", "first", "third", "first", "second",
    ]
    # Each run once, however many steps there are.
    assert looked == ["second", "first"]


def test_a_step_of_a_run_that_was_deleted_is_of_that_run() -> None:
    origins = Origins(retry_of("gone", "second", "b"), lambda run_id: None)
    assert [origins.of(key) for key in ("a", "b", "a")] == ["gone", "second", "gone"]


def test_runs_that_are_retries_of_each_other_have_an_end() -> None:
    runs = {"one": retry_of("two", "one", "a"), "two": retry_of("one", "two", "b")}
    assert Origins(runs["one"], runs.get).of("c") == "two"
