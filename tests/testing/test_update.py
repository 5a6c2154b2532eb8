"""What `flowtoy test --update` writes is read back as what it was."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from json_values import json_values

from flowtoy_dagster.flow.files.yaml_reader import read_document
from flowtoy_dagster.testing.update import _block, _in_one_line


@given(json_values())
@example({"\x85": "\u2028", "\xa0": ["\xa0", "a\x85 b", "\ufeff"]})
@example(["1e5", "0o17", "0x1f", "1_000", "12:30", "2024-01-01", "~", "", "a: b", "- a", "#", "*a"])
def test_any_value_is_read_back_as_it_was(value: Any) -> None:
    line = _in_one_line(value)
    assert "\n" not in line
    for text in (f"a: {line}", f"{{a: {line}, b: 1}}"):
        assert read_document(f"{text}\n", "f").plain()["a"] == value
    assert read_document(_block({"expect": value}), "f").plain() == {"expect": value}


def test_a_value_that_stands_twice_is_written_twice() -> None:
    twice = {"a": 1}
    assert _in_one_line([twice, twice]) == "[{a: 1}, {a: 1}]"
    assert yaml.safe_load(_block({"x": [twice, twice]})) == {"x": [twice, twice]}
    assert "&" not in _block({"x": [twice, twice]})


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("failed", "failed"), ("two words", "two words"),
        ("yes", "'yes'"), ("1", "'1'"), ("", "''"),
        ("a, b", "'a, b'"), ("one\ntwo\n", '"one\\ntwo\\n"'), (1, "1"), (None, "null"),
        ({"a b": ["x", True]}, "{a b: [x, true]}"),
    ],
)
def test_there_are_quotes_only_where_yaml_needs_them(value: Any, written: str) -> None:
    assert _in_one_line(value) == written
