"""A flow as a Dagster job (runtime 1, 2; language 4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowtoy_dagster import FlowTranslator, StepSpec, UsageError, build_job, load_flow
from flowtoy_dagster.engine.jobs.dagster_names import step_keys
from flowtoy_dagster.engine.jobs.translator import KIND_TAG
from flowtoy_dagster.engine.tags import FLOW_TAG, STEP_TAG
from flowtoy_dagster.flow.graph import Flow

FLOWS = Path(__file__).parents[1] / "conformance"
EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = [
    "fetch-users", "fetch_users", "fetch users", "input", "config", "type", "étape", "2nd", "a.b",
    "a_b", "br[1]", "日本", "a/b", "?", "x" * 150,
]


def process(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "source": "process", "input": {"command": ["true"]}, **more}


def edges_of(job: dg.JobDefinition) -> set[tuple[str, str]]:
    """`(upstream, downstream)` for each edge of a job, by the steps' written names."""
    written = {key: node.definition.tags[STEP_TAG] for key, node in job.graph.node_dict.items()}
    found = set()
    for invocation, inputs in job.graph.dependencies.items():
        for dependency in inputs.values():
            assert isinstance(dependency, dg.DependencyDefinition)
            found.add((written[dependency.node], written[invocation.alias or invocation.name]))
    return found


def edges_of_flow(flow: Flow) -> set[tuple[str, str]]:
    return {(upstream, step.name) for step in flow.steps for upstream in step.upstream}


def flows() -> Iterator[Any]:
    for path in sorted(EXAMPLES.glob("*.yaml")):
        yield pytest.param(path, id=path.stem)
    for name in ("diamond", "depends_on", "reference_forms", "references_in_source",
                 "whole_flows", "awkward_names", "skip_a_failure"):
        yield pytest.param(FLOWS / f"valid_{name}.yaml", id=name)


@pytest.mark.parametrize("path", list(flows()))
def test_the_edges_are_the_flows_dependencies_no_more_and_no_fewer(path: Path) -> None:
    # runtime 2
    flow = load_flow(path)
    job = build_job(flow)
    assert edges_of(job) == edges_of_flow(flow)
    assert len(job.graph.node_dict) == len(flow.steps)


def test_any_mixture_of_policies_has_the_same_edges() -> None:
    # language 9.2, runtime 2
    policies = ("fail", "skip", "continue")
    steps = [process(f"{a} {b}", on_error=a) for a in policies for b in policies]
    steps += [
        process(f"after {a} {b}", on_error=b, depends_on=f"{a} {b}")
        for a in policies
        for b in policies
    ]
    flow = load_flow({"flow": steps})
    assert edges_of(build_job(flow)) == edges_of_flow(flow)


def test_any_written_name_makes_a_job_and_is_its_steps_tag() -> None:
    # language 4.2, runtime 1
    steps = [process(name) for name in NAMES]
    steps.append(process("last", depends_on=NAMES))
    flow = load_flow({"name": "input", "flow": steps})
    job = build_job(flow)
    assert job.name == "flow_input"
    assert job.metadata[FLOW_TAG].value == "input"
    nodes = job.graph.node_dict
    assert set(nodes) == set(step_keys([*NAMES, "last"]).values())
    assert {node.definition.tags[STEP_TAG] for node in nodes.values()} == {*NAMES, "last"}
    assert edges_of(job) == {(name, "last") for name in NAMES}


def test_names_that_look_alike_are_steps_of_their_own() -> None:
    # runtime 1
    flow = load_flow({"flow": [process(n) for n in ("fetch-users", "fetch_users", "fetch users")]})
    assert set(build_job(flow).graph.node_dict) == {"fetch-users", "fetch_users", "fetch users"}


def test_flows_with_the_same_steps_stand_in_one_code_location() -> None:
    # Op names are unique in a code location.
    jobs = [
        build_job({"name": name, "flow": [process("fetch"), process("load", depends_on="fetch")]})
        for name in ("shop", "bank")
    ]
    definitions = dg.Definitions(jobs=jobs)
    dg.Definitions.validate_loadable(definitions)
    repository = definitions.get_repository_def()
    assert {job.name for job in repository.get_all_jobs()} >= {"shop", "bank"}


@pytest.mark.parametrize("direction", [1, -1], ids=["first step first", "last step first"])
def test_a_long_chain_makes_a_job_whatever_its_order(direction: int) -> None:
    # Dagster's own graph goes from a step to all before it by recursion.
    steps = [
        process(f"s{number}", **({"depends_on": f"s{number - 1}"} if number else {}))
        for number in range(3000)
    ]
    job = build_job(load_flow({"name": "long", "flow": steps[::direction]}))
    assert [node.name for node in job.graph.nodes] == [f"s{number}" for number in range(3000)]
    order = [node.name for node in job.graph.nodes_in_topological_order]
    assert order == [f"s{number}" for number in range(3000)]


def test_a_step_shows_its_kind_its_description_and_its_tags() -> None:
    # runtime 1
    flow = load_flow(
        {
            "name": "shop",
            "description": "All of the shop",
            "tags": {"team": "blue"},
            "flow": [
                process("plain"),
                process("told", description="What it does", tags={"cost": "high"}),
                {"name": "env", "source": {"type": "env", "vars": ["HOME"]}},
                {"name": "rest", "source": {"type": "rest", "url": "http://localhost/users"}},
            ],
        }
    )
    job = build_job(flow, tags={"env": "test"})
    ops = {key: node.definition for key, node in job.graph.node_dict.items()}
    kinds = {key: op.tags[KIND_TAG] for key, op in ops.items()}
    assert kinds == {"plain": "process", "told": "process", "env": "env", "rest": "rest"}
    assert ops["told"].tags["cost"] == "high"
    assert {key: op.description for key, op in ops.items()} == {
        "plain": "true",
        "told": "What it does",
        "env": "environment variables HOME",
        "rest": "GET http://localhost/users",
    }
    assert job.description == "All of the shop"
    assert job.run_tags == {"team": "blue", "env": "test"} | {
        key: value for key, value in job.run_tags.items() if key not in ("team", "env")
    }


def test_secrets_are_in_nothing_that_a_snapshot_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    # language 13.3
    monkeypatch.setenv("API_TOKEN", "sesame-open")
    flow = load_flow(
        {
            "description": "calls with sesame-open",
            "sources": {"env": {"type": "env", "vars": ["API_TOKEN"]}},
            "flow": [process("a", description="sends sesame-open", tags={"x": "sesame-open"})],
        }
    )
    job = build_job(flow, tags={"y": "sesame-open"})
    op = job.graph.node_dict["a"].definition
    assert op.description == "sends ***"
    assert op.tags["x"] == "***"
    assert job.description == "calls with ***"
    assert job.run_tags["y"] == "***"


def test_a_job_is_made_of_a_mapping_a_path_or_a_flow(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("flow: [{name: a, source: process, input: {command: [echo, a]}}]")
    mapping = {"name": "shop", "flow": [process("a")]}
    jobs = [build_job(form) for form in (path, str(path), [path], mapping, load_flow(path))]
    assert {job.name for job in jobs} == {"shop"}
    assert all(set(job.graph.node_dict) == {"a"} for job in jobs)
    assert build_job(path, name="other").name == "other"
    with pytest.raises(UsageError, match=r"'a b' can't be the name of a job\n.*, as in a_b"):
        build_job(path, name="a b")


def test_how_steps_appear_can_be_changed() -> None:
    class Loud(FlowTranslator):
        def step_spec(self, flow: Flow, step: Any) -> StepSpec:
            spec = super().step_spec(flow, step)
            return StepSpec(spec.description.upper(), {**spec.tags, "loud": "yes"})

    job = build_job({"name": "x", "flow": [process("a")]}, translator=Loud())
    op = job.graph.node_dict["a"].definition
    assert op.description == "TRUE"
    assert op.tags["loud"] == "yes"
    assert op.tags[STEP_TAG] == "a"


def test_how_often_steps_are_tried_again_can_be_changed(tmp_path: Path) -> None:
    # language 10.1
    class Patient(FlowTranslator):
        def step_spec(self, flow: Flow, step: Any) -> StepSpec:
            spec = super().step_spec(flow, step)
            changed = {"a": {"max": 2, "delay": 0}, "b": 0}
            return replace(spec, retry=changed.get(step.name))

    tried = 'printf x >> "$0"; exit 1'
    flow = [
        {**process(name), "input": {"command": ["sh", "-c", tried, str(tmp_path / name)]},
         "retry": {"max": 1, "delay": 0}, "on_error": "continue"}
        for name in ("a", "b", "c")
    ]
    config = {"name": "x", "flow": flow, "runner": {"executor": "in_process"}}
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        build_job(config, translator=Patient()).execute_in_process(instance=instance)
    assert {name: (tmp_path / name).read_text() for name in "abc"} == {
        "a": "xxx", "b": "x", "c": "xx"
    }


def test_a_retry_that_is_none_is_refused() -> None:
    class Wrong(FlowTranslator):
        def step_spec(self, flow: Flow, step: Any) -> StepSpec:
            return replace(super().step_spec(flow, step), retry={"max": "often"})

    with pytest.raises(ValueError, match="max"):
        build_job({"name": "x", "flow": [process("a")]}, translator=Wrong())


def test_a_job_runs_in_process_and_its_events_hold_previews_alone(tmp_path: Path) -> None:
    # runtime 3
    long = "v" * 5000
    config = {
        "name": "x",
        "flow": [
            {**process("a"), "input": {"command": ["echo", long]},
             "output": [{"name": "text", "value": "stdout"}]},
            {**process("b.c"), "input": {"command": ["echo", "{{ flows.a.text }}"]}},
        ],
    }
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        result = build_job(config).execute_in_process(instance=instance)
        assert result.success
        entries = [repr(entry) for entry in instance.all_logs(result.run_id)]
    assert not any(long in entry for entry in entries)
    (output,) = (e for e in result.all_events if e.is_successful_output and e.step_key == "a")
    shown = output.step_output_data.metadata["outputs"].value
    assert shown["text"]["type"] == "text"  # type: ignore[index,call-overload]
    assert shown["text"]["bytes"] == 5004  # type: ignore[index,call-overload]
    assert len(shown["text"]["preview"]) == 201  # type: ignore[index,call-overload]
