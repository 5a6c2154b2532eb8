"""Which step waits for which, and why (language 8)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.loader import load_flow


def echo(name: str, *words: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "source": "process", "input": {"command": ["echo", *words]},
        "output": [{"name": "x"}], **more,
    }  # fmt: skip


def flow(*steps: dict[str, Any], **top: Any) -> Flow:
    return load_flow({"flow": list(steps), **top})


def reasons(found: Flow, name: str) -> dict[str, tuple[str, ...]]:
    return {dependency.step: dependency.reasons for dependency in found.step(name).dependencies}


@given(st.data(), st.integers(1, 8))
def test_exactly_the_references_become_dependencies(data: st.DataObject, size: int) -> None:
    # language 8.1, 8.4
    names = [f"s {i}" for i in range(size)]
    wanted = {
        name: data.draw(st.sets(st.sampled_from(names[:i]) if i else st.nothing()))
        for i, name in enumerate(names)
    }
    steps = []
    for name, upstream in wanted.items():
        explicit = {other for other in upstream if data.draw(st.booleans())}
        words = [f"{{{{ flows['{other}'].x }}}}" for other in upstream - explicit]
        steps.append(echo(name, *words, "flows['s 0'].x", depends_on=sorted(explicit)))
    found = flow(*data.draw(st.permutations(steps)))
    assert {step.name: set(step.upstream) for step in found.steps} == wanted


def test_every_dependency_tells_its_reasons() -> None:
    # language 8.1
    found = flow(
        echo("a"),
        echo("b"),
        echo("c", "{{ flows.a.x }}", "{{ flows.a.x }}", depends_on=["a", "b"],
             output=[{"name": "y", "value": "{{ flows.b.x }}"}],
             timeout="{{ flows.b.x | int + 5 }}", retry={"max": "{{ flows.b.x | int }}"}),
        sources={},
    )  # fmt: skip
    assert reasons(found, "c") == {
        "a": ("depends_on", "input.command[1]", "input.command[2]"),
        "b": ("depends_on", "output y", "retry.max", "timeout"),
    }


def test_references_in_a_source_count_for_each_step_that_uses_it() -> None:
    # language 8.1
    sources = {
        "p": {
            "type": "process",
            "command": ["echo", "{{ flows.a.x }}"],
            "env": {"A": "{{ flows.b.x }}"},
        },
        "other": {"type": "process", "command": ["echo", "{{ sources.p.env }}"]},
    }
    found = flow(
        {"name": "uses", "source": "p"},
        {"name": "changes", "source": {"base": "p", "override": {"command": ["ls"]}}},
        {"name": "reads", "source": "other"},
        {"name": "asks", "source": "p", "input": {"command": ["ls"], "env": {"A": "1"}}},
        echo("a"),
        echo("b"),
        sources=sources,
    )
    assert reasons(found, "uses") == {"a": ("source.command[1]",), "b": ("source.env.A",)}
    assert set(reasons(found, "changes")) == {"b"}
    assert set(reasons(found, "reads")) == {"a", "b"}
    assert reasons(found, "asks") == {}


def test_flows_taken_whole_depends_on_the_steps_above() -> None:
    # language 8.2
    found = flow(echo("a"), echo("b"), echo("c", "{{ flows }}"), echo("d"))
    assert found.step("c").upstream == ("a", "b")
    assert found.dependents == {"a": ("c",), "b": ("c",), "c": (), "d": ()}


def test_only_steps_whose_whole_result_is_named_are_kept() -> None:
    found = flow(
        echo("a"), echo("b"), echo("c"),
        echo("d", "{{ steps.a.result.data }}", "{{ steps.b.state }}", "{{ steps.c }}"),
    )  # fmt: skip
    assert [step.name for step in found.steps if step.keep_result] == ["a", "c"]


@given(st.integers(2, 6), st.randoms())
def test_a_cycle_is_told_with_its_path(size: int, random: Any) -> None:
    # language 8.3
    names = [f"s{i}" for i in range(size)]
    steps = [echo(name, depends_on=names[i - 1]) for i, name in enumerate(names)]
    random.shuffle(steps)
    with pytest.raises(ConfigError) as raised:
        flow(*steps)
    (problem,) = raised.value.problems
    path = problem.message.rpartition(": ")[2].split(" -> ")
    assert path[0] == path[-1]
    assert sorted(path[1:]) == sorted(names)
    for step, upstream in itertools.pairwise(path):
        assert upstream == names[names.index(step) - 1]


def test_a_chain_of_5000_steps_is_no_recursion() -> None:
    steps = [echo(f"s{i}", depends_on=[f"s{i - 1}"] if i else []) for i in range(5000)]
    assert len(flow(*steps).steps) == 5000


def test_a_configuration_without_files_tells_paths() -> None:
    # language 1.5
    with pytest.raises(ConfigError) as raised:
        flow({"name": "a", "source": "env", "input": {"vars": 5}}, runner={"max_workers": 0})
    assert str(raised.value).splitlines() == [
        "runner.max_workers: must be at least 1, got the number 0",
        "flow[0].input.vars: expected a list, got the number 5",
    ]
