"""YAML text to nodes with positions, and merging them (language 1)."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values

from flowtoy_dagster.errors import ConfigError, Location
from flowtoy_dagster.flow.files.loading import read_files
from flowtoy_dagster.flow.files.nodes import Mark, Node, from_plain, merge, merge_configurations
from flowtoy_dagster.flow.files.yaml_reader import (
    MAX_DEPTH,
    MAX_FILE_BYTES,
    MAX_NODES,
    read_document,
)

floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | floats | st.text()
values = json_values(scalars, st.text(), max_leaves=5)
mappings = st.dictionaries(
    st.sampled_from("abc"), values | st.dictionaries(st.sampled_from("abc"), values)
)
# A key that holds a mapping in one file and something else in another ends what came before it.
alike = st.fixed_dictionaries(
    {},
    optional={
        "map": st.dictionaries(st.sampled_from("abc"), scalars),
        "deep": st.fixed_dictionaries(
            {}, optional={"map": st.dictionaries(st.sampled_from("abc"), scalars)}
        ),
        "list": st.lists(scalars, max_size=2),
        "text": scalars,
    },
)
NOWHERE = Mark(Location("f", 1, 1), 0)


def node(value: Any) -> Node:
    return from_plain(value, NOWHERE)


def place(root: Node, *path: str | int, key: bool = False) -> tuple[int, int]:
    location = root.nearest(path, key=key).location
    return location.line, location.column


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read_document(text, "f")
    return [f"{p.location}: {p.message}" for p in raised.value.problems]


# language 1.1


@given(alike, alike, alike)
def test_merging_is_associative(a: Any, b: Any, c: Any) -> None:
    left = merge(merge(node(a), node(b)), node(c)).plain()
    right = merge(node(a), merge(node(b), node(c))).plain()
    assert left == right
    assert merge_configurations(merge_configurations(a, b), c) == left


@given(mappings)
def test_merging_with_an_empty_mapping_changes_nothing(a: Any) -> None:
    assert merge(node(a), node({})).plain() == merge(node({}), node(a)).plain() == a


@given(mappings, mappings)
def test_the_right_wins_and_mappings_merge_key_by_key(a: Any, b: Any) -> None:
    merged = merge(node(a), node(b)).plain()
    assert set(merged) == set(a) | set(b)
    for key, value in merged.items():
        if key not in b:
            assert value == a[key]
        elif isinstance(b[key], dict) and isinstance(a.get(key), dict):
            assert value == merge(node(a[key]), node(b[key])).plain()
        else:
            assert value == b[key]


def test_lists_and_null_replace_what_was_there() -> None:
    base = {"list": [1, 2], "map": {"a": 1}, "text": "x", "kept": [1]}
    over = {"list": [3], "map": None, "text": {"b": 2}}
    assert merge(node(base), node(over)).plain() == {
        "list": [3], "map": None, "text": {"b": 2}, "kept": [1]
    }


def test_positions_survive_merging() -> None:
    base = read_document("a: {x: 1}\nb: 2\n", "base", 0)
    over = read_document("\na:\n  y: 3\n", "over", 1000)
    root = merge(base, over)
    assert str(root.nearest(["a", "x"]).location) == "base:1:8"
    assert str(root.nearest(["a", "y"]).location) == "over:3:6"
    assert str(root.nearest(["b"], key=True).location) == "base:2:1"
    assert root.nearest(["b"]).order < root.nearest(["a", "y"]).order


# language 1.5


def test_nodes_know_the_line_and_column_of_keys_and_values() -> None:
    root = read_document("flow:\n  - name: a\n    input: {é: [1, two]}\n", "f")
    assert place(root, "flow", 0, "name", key=True) == (2, 5)
    assert place(root, "flow", 0, "name") == (2, 11)
    assert place(root, "flow", 0, "input", "é", 1) == (3, 20)


def test_the_nearest_place_passes_over_what_is_not_there() -> None:
    root = read_document("a: {b: 1}\n", "f")
    assert place(root, "a", "<union>", "b") == (1, 8)
    assert place(root, "a", "c", key=True) == (1, 4)
    assert place(root, "z", 5) == (1, 1)


@given(values)
def test_json_reads_back_as_it_was_written(value: Any) -> None:
    # language 1.2
    text = json.dumps({"v": value}, ensure_ascii=True)
    try:
        expected = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return  # surrogates and the like, which YAML has not
    assert read_document(text, "f").plain() == expected


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"#%@`\n\t ,?~<=0")))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    refused = None
    try:
        read_document(text, "f")
    except ConfigError as error:
        refused = error
    assert refused is None or all(p.location is not None for p in refused.problems)


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f.yaml"
        path.write_bytes(data)
        with contextlib.suppress(ConfigError):
            read_files([path])


# language 1.6


openings = pytest.mark.parametrize(
    ("start", "opening", "column"),
    [
        ("x: ", "[", 3 + MAX_DEPTH - 1),
        ("x: ", "{a: ", 3 + 4 * (MAX_DEPTH - 2) + 1),
        ("", "- ", 2 * (MAX_DEPTH - 1) + 1),
        ("", "? ", 2 * (MAX_DEPTH - 1) + 1),
    ],
    ids=["brackets", "braces", "sequence entries", "keys"],
)


@openings
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 950, 1_001, 100_000])
def test_deep_nesting_is_refused_at_its_place(
    start: str, opening: str, column: int, levels: int
) -> None:
    found = problems(start + opening * levels)
    assert found == [f"f:1:{column}: nested more than {MAX_DEPTH} levels deep"]


@openings
def test_deep_nesting_is_reported_before_a_mistake_that_follows_it(
    start: str, opening: str, column: int
) -> None:
    found = problems(start + opening * 200 + "\t@")
    assert found == [f"f:1:{column}: nested more than {MAX_DEPTH} levels deep"]


def test_a_mistake_that_comes_before_deep_nesting_is_the_one_reported() -> None:
    (found,) = problems("x: @\ny: " + "[" * 2_000)
    assert found.startswith("f:1:4: not valid YAML: ")


def test_nesting_up_to_the_limit_is_read() -> None:
    depth = MAX_DEPTH - 2
    root = read_document("x: " + "[" * depth + "]" * depth, "f")
    assert root.value["x"].value is not None


def test_too_many_values_are_refused_before_they_are_built() -> None:
    (problem,) = problems("x: [" + "1," * (MAX_NODES + 10) + "]")
    assert f"more than {MAX_NODES} values" in problem


def test_a_scalar_of_10_megabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("x: " + "a" * 10_000_000)
    with pytest.raises(ConfigError, match=f"larger than {MAX_FILE_BYTES // 2**20} MiB"):
        read_files([path])


def test_aliases_share_what_they_name() -> None:
    root = read_document("a: &a [1]\nb: *a\nc: *a\n", "f")
    assert root.value["b"].value is root.value["c"].value


# language 1.3


def test_keys_of_a_merged_mapping_are_no_duplicates() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  y: 9\n  <<: [*a, *b]\n"
    assert read_document(text, "f").plain()["c"] == {"x": 1, "z": 4, "y": 9}
    text = "a: &a {x: 1}\nb: &b {x: 2}\nc:\n  <<: [*a, *b]\n"
    assert read_document(text, "f").plain()["c"] == {"x": 1}


def test_a_mistake_in_an_anchor_is_told_once() -> None:
    told = problems("a: &a {k: 1, k: 2}\nb: {<<: *a}\nc: *a\n")
    assert told == ["f:1:14: the key 'k' is given twice; first at f:1:8"]


@pytest.mark.parametrize(
    "name", ["missing.yaml", "."], ids=["a file that is not there", "a folder"]
)
def test_what_can_not_be_read_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"can't read the configuration '{name}'"):
        read_files([name])


def test_every_file_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [")
    with pytest.raises(ConfigError) as raised:
        read_files([tmp_path / "none.yaml", bad])
    assert len(raised.value.problems) == 2


def test_a_merged_mapping_is_where_the_last_file_that_has_keys_for_it_has_it() -> None:
    base = read_document("a:\n  x: 1\n", "base")
    over = read_document("\n\na:\n    y: 2\n", "over")
    empty = read_document("\n\n\na: {}\n", "empty")
    assert str(merge(base, over).value["a"].mark.location) == "over:4:5"
    assert str(merge(base, empty).value["a"].mark.location) == "base:2:3"
