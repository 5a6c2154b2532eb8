"""What `flowtoy test --update` writes is read back as what it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from json_values import json_values

from flowtoy_dagster.cli.testing.run_tests import _updated
from flowtoy_dagster.flow.files.yaml_reader import read_document
from flowtoy_dagster.testing.cases import run_case
from flowtoy_dagster.testing.files import CaseReader
from flowtoy_dagster.testing.update import _block, _in_one_line, read_as_written, with_case


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


FLOW = """
    flow:
      - {name: one, source: process, input: {command: x}, output: [{name: text, value: stdout}]}
"""


@pytest.mark.parametrize(
    "case",
    [
        "  - {name: a, mock: {one: {stdout: x}}}  # a comment\n",
        "  - {name: a, mock: {one: {stdout: x}}, }\n",
        "  - {name: a, mock: {one: {stdout: x}\n      # the end\n    } }\n",
    ],
)
def test_a_test_in_one_line_gets_its_expectation_there(
    case: str, check: Callable[..., Any]
) -> None:
    verdicts = check(FLOW, case)
    assert [one.passed for one in _updated("flow.test.yaml", verdicts)] == [True]
    (written,) = yaml.safe_load(Path("flow.test.yaml").read_text())["tests"]
    assert written["expect"] == {"state": "succeeded", "outputs": {"one": {"text": "x"}}}
    assert ("#" in Path("flow.test.yaml").read_text()) is ("#" in case)


def test_line_ends_stay_as_they_are(check: Callable[..., Any]) -> None:
    mock = "    mock: {one: {stdout: x}}\n"
    cases = f"  - name: a\n{mock}    expect:\n      outputs: {{one: {{text: y}}}}\n"
    check(FLOW, f"{cases}  - name: b\n{mock}")
    file = Path("flow.test.yaml")
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    before = file.read_bytes()
    verdicts = [run_case(case) for case in CaseReader().read(file.name)]
    assert all(verdict.passed for verdict in _updated(file.name, verdicts))
    text = file.read_bytes()
    assert text.replace(b"\r\n", b"").count(b"\n") == 0
    assert text.startswith(before.partition(b"text: y")[0])
    assert text.count(b"text: x") == 2
    more = with_case(read_as_written(file), {"name": "c"}, "f")
    assert more.count("\n") == more.count("\r\n") == text.count(b"\n") + 1
