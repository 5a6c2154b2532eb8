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
from flowtoy_dagster.testing.update import _block, in_one_line, read_as_written, with_case


@given(json_values())
@example({"\x85": "\u2028", "\xa0": ["\xa0", "a\x85 b", "\ufeff"]})
@example(["1e5", "0o17", "0x1f", "1_000", "12:30", "2024-01-01", "~", "", "a: b", "- a", "#", "*a"])
def test_any_value_is_read_back_as_it_was(value: Any) -> None:
    line = in_one_line(value)
    assert "\n" not in line
    for text in (f"a: {line}", f"{{a: {line}, b: 1}}"):
        assert read_document(f"{text}\n", "f").plain()["a"] == value
    assert read_document(_block({"expect": value}), "f").plain() == {"expect": value}


def test_a_value_that_stands_twice_is_written_twice() -> None:
    twice = {"a": 1}
    assert in_one_line([twice, twice]) == "[{a: 1}, {a: 1}]"
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
    assert in_one_line(value) == written


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
def test_a_testin_one_line_gets_its_expectation_there(
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


MORE = """
    flow:
      - name: a
        source: process
        input: {command: x}
        output: [{name: o, value: stdout}, {name: j, type: json}]
"""
LONG = '{first: ' + "a" * 30 + ", second: " + "b" * 40 + ", third: [1, 2, 3]}"


@pytest.mark.parametrize(
    "expect",
    [
        "{outputs: {a: {o: , j: 1}}}",
        "\n      outputs:\n        a:\n          o:\n          j: [1]  # a comment",
        "\n      outputs:\n        a:\n          j:  # a comment\n          o:\n",
        "\n      outputs: {\n        a: {\n          o: 1,\n          j: 2\n        }\n      }",
        "\n      steps: {a: {called: [\n      {command: []}\n      ]}}\n",
        "\n      steps:\n        a:\n          called:\n          - {command: [x, y]}\n",
    ],
)
def test_what_is_written_can_be_read_and_passes(expect: str, check: Callable[..., Any]) -> None:
    mock = f"    mock: {{a: {{json: {LONG}}}}}\n"
    verdicts = check(MORE, f"  - name: one\n{mock}    expect: {expect}\n")
    assert not verdicts[0].passed
    assert [one.passed for one in _updated("flow.test.yaml", verdicts)] == [True]
    assert ("#" in Path("flow.test.yaml").read_text()) is ("#" in expect)


@pytest.mark.parametrize("last", ["|+\n          hello\n\n\n", "|\n          hello\n\n\n"])
def test_the_text_of_a_mock_stays_as_it_is(last: str, check: Callable[..., Any]) -> None:
    verdicts = check(FLOW, f"  - name: one\n    mock:\n      one:\n        stdout: {last}")
    (before,) = yaml.safe_load(Path("flow.test.yaml").read_text())["tests"]
    assert [one.passed for one in _updated("flow.test.yaml", verdicts)] == [True]
    text = read_as_written("flow.test.yaml")
    assert yaml.safe_load(text)["tests"][0]["mock"] == before["mock"]
    tests = yaml.safe_load(with_case(text, {"name": "c"}, "f"))["tests"]
    assert (tests[0]["mock"], tests[1]) == (before["mock"], {"name": "c"})


def test_a_comment_stays_at_its_line(check: Callable[..., Any]) -> None:
    verdicts = check(FLOW, "  - name: one\n    mock: {one: {stdout: x}}  # why\n")
    _updated("flow.test.yaml", verdicts)
    text = read_as_written("flow.test.yaml")
    assert "mock: {one: {stdout: x}}  # why\n    expect:\n" in text
    assert "# end\n  - {name: c}\n" in with_case(f"{text.rstrip()}  # end\n", {"name": "c"}, "f")
