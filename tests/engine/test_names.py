"""Names that Dagster accepts for the names that people write (language 4.2, runtime 1)."""

from __future__ import annotations

import keyword
import re

import dagster as dg
import pytest
from dagster._core.definitions.utils import DISALLOWED_NAMES
from dagster._core.execution.plan.handle import StepHandle
from hypothesis import given
from hypothesis import strategies as st

from flowtoy_dagster.engine.jobs.dagster_names import RESERVED, dagster_name, step_keys

# Names as people write them, and the characters that a mangling is likely to confuse.
WRITTEN = st.one_of(
    st.text(min_size=1, max_size=30),
    st.text("ab_.-/[]?*+ 12", min_size=1, max_size=5),
    st.sampled_from(sorted(RESERVED)),
)


def test_the_reserved_names_are_dagsters() -> None:
    assert {*DISALLOWED_NAMES, *keyword.kwlist} == RESERVED


@given(WRITTEN)
def test_a_dagster_name_is_one_that_dagster_accepts(written: str) -> None:
    name = dagster_name(written)
    assert re.fullmatch("[A-Za-z0-9_]+", name, re.ASCII)
    assert name not in RESERVED
    assert len(name) <= 65


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("shop", "shop"),
        ("fetch-users", "fetch_users"),
        ("étape", "etape"),
        ("2nd", "2nd"),
        ("input", "flow_input"),
        ("class", "flow_class"),
        ("日本", "flow"),
        ("a" * 100, "a" * 60),
    ],
)
def test_a_dagster_name_is_like_the_written_one(written: str, name: str) -> None:
    assert dagster_name(written) == name


@given(st.lists(WRITTEN, unique=True, max_size=12))
def test_step_keys_are_unique_and_none_has_a_meaning_of_its_own(names: list[str]) -> None:
    keys = step_keys(names)
    assert list(keys) == names
    assert len(set(keys.values())) == len(names)
    for key in keys.values():
        assert key
        assert not set(key) & set(".[]?*+/\\:,\"'\n\t()")
        handle = StepHandle.parse_from_key(key)
        assert isinstance(handle, StepHandle)
        assert handle.to_key() == key


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["fetch-users", "fetch_users"], ["fetch-users", "fetch_users"]),
        (["a.b", "a_b"], ["a_b_2", "a_b"]),
        (["a_b_2", "a.b", "a/b", "a_b"], ["a_b_2", "a_b_3", "a_b_4", "a_b"]),
        (["étape", "input", "2nd", "br[1]"], ["étape", "input", "2nd", "br_1_"]),
    ],
    ids=" ".join,
)
def test_a_step_key_is_the_written_name_wherever_that_can_be(
    names: list[str], keys: list[str]
) -> None:
    assert list(step_keys(names).values()) == keys


@given(st.lists(WRITTEN, unique=True, min_size=1, max_size=4))
def test_dagster_takes_step_keys_as_aliases(names: list[str]) -> None:
    @dg.op
    def nothing() -> None:
        """Is only named."""

    keys = list(step_keys(names).values())
    graph = dg.GraphDefinition(
        name="names",
        node_defs=[nothing],
        dependencies={dg.NodeInvocation("nothing", alias=key): {} for key in keys},
    )
    assert set(graph.to_job().graph.node_dict) == set(keys)
