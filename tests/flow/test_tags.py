"""Tags that Dagster reads (language 2.1): a value that can't be used is an error at its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flowtoy_dagster import (
    ConfigError,
    FlowTranslator,
    StepSpec,
    UsageError,
    build_job,
    load_flow,
    run_flow,
)


def flow_with(step: str = "", flow: str = "") -> str:
    """A flow with a tag of its own and one of its step's, as they are written."""
    return (
        f"tags: {{team: blue, {flow}}}\n"
        "flow:\n"
        "  - name: a\n"
        f"    tags: {{owner: sales, {step}}}\n"
        "    source: {type: process, command: [echo, x]}\n"
    )


def problems(text: str, tmp_path: Any) -> list[Any]:
    path = tmp_path / "flow.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_flow(path)
    return list(raised.value.problems)


@pytest.mark.parametrize("value", ["high", '"1.5"', '""', "1e3", '"1_0"', "99999999999", "true"])
def test_a_priority_that_dagster_could_not_read_is_an_error_at_its_place(
    value: str, tmp_path: Any
) -> None:
    for given, place in (
        ({"step": f"dagster/priority: {value}"}, (4, 44)),
        ({"flow": f"dagster/priority: {value}"}, (1, 38)),
    ):
        (problem,) = problems(flow_with(**given), tmp_path)
        assert problem.message.startswith("the tag 'dagster/priority' must be a whole number")
        assert (problem.location.line, problem.location.column) == place
        assert problem.hint == "Dagster reads this tag"


@pytest.mark.parametrize(
    ("tag", "unusable"),
    [
        ("dagster/max_retries", "often"),
        ("dagster/max_retries", "-1"),
        ("dagster/retry_strategy", "from_failure"),
        ("dagster/retry_on_asset_or_op_failure", "perhaps"),
        ("dagster/max_runtime", "1h"),
        ("dagster/max_runtime", "nan"),
        ("dagster/max_runtime", "0"),
        ("dagster/parent_run_id", "x"),
        ("dagster/solid_selection", "a"),
        (".dagster/repository", "x"),
        ("flowtoy/config", "x"),
    ],
)
def test_a_tag_of_a_run_that_is_read_or_written_elsewhere_is_checked(
    tag: str, unusable: str, tmp_path: Any
) -> None:
    (problem,) = problems(flow_with(flow=f'"{tag}": "{unusable}"'), tmp_path)
    assert f"the tag '{tag}'" in problem.message
    assert problem.location.line == 1
    assert problem.hint


@pytest.mark.parametrize("tag", ["flowtoy/halts_run", "flowtoy/order", "flowtoy/step"])
def test_a_step_can_not_set_what_flowtoy_reads_of_steps(tag: str, tmp_path: Any) -> None:
    (problem,) = problems(flow_with(step=f'{tag}: "true"'), tmp_path)
    assert problem.message == f"the tag '{tag}' is set by flowtoy itself"


def test_a_pool_is_no_tag(tmp_path: Any) -> None:
    (problem,) = problems(flow_with(step="dagster/concurrency_key: db"), tmp_path)
    assert problem.hint == "write 'pool: db' next to 'tags'"


def test_tags_that_can_be_used_reach_dagster(tmp_path: Any) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(
        flow_with(
            step="dagster/priority: -3",
            flow="dagster/priority: '2', dagster/max_retries: 1, dagster/max_runtime: '1.5', "
            "dagster/retry_strategy: ALL_STEPS, dagster/retry_on_asset_or_op_failure: 'false'",
        )
    )
    job = build_job(path)
    assert job.graph.node_named("a").definition.tags["dagster/priority"] == "-3"
    assert job.run_tags["dagster/max_runtime"] == "1.5"


def test_tags_that_python_gives_are_checked_too(made_home: Any, tmp_path: Any) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(flow_with())

    class Urgent(FlowTranslator):
        def step_spec(self, flow: Any, step: Any) -> StepSpec:
            return replace(super().step_spec(flow, step), tags={"dagster/priority": "high"})

    for make in (
        lambda: build_job(path, translator=Urgent()),
        lambda: build_job(path, tags={"dagster/priority": "high"}),
        lambda: run_flow(path, tags={"dagster/priority": "high"}),
    ):
        wrong = "the tag 'dagster/priority' must be a whole number"
        with pytest.raises((ValueError, UsageError), match=wrong):
            make()
