"""From a provider's result to outputs (language 7)."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values

from flowtoy_dagster.errors import StepError
from flowtoy_dagster.flow.graph import Source
from flowtoy_dagster.flow.schema.models import OutputConfig
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.kinds import kind_of
from flowtoy_dagster.steps.outputs.extraction import extract

ENVELOPE = ["success", "code", "notes", "data", "meta", "status"]


def output(value: str | None = None, kind: str | None = None) -> OutputConfig:
    return OutputConfig.model_validate({"name": "out", "value": value, "type": kind})


def get(
    data: Any, value: str | None = None, kind: str | None = None, provider: str = "other"
) -> Any:
    result = ProviderResult(True, 7, ("note",), data, {"m": 1})
    return extract(output(value, kind), kind_of(Source(provider, {})), result, {})


def process(stdout: str) -> dict[str, Any]:
    data: dict[str, Any] = {"stdout": stdout, "stderr": "", "returncode": 0}
    with contextlib.suppress(ValueError):
        data["json"] = json.loads(stdout)
    return data


# language 7.1


@pytest.mark.parametrize("data", [{"a": 1}, [1], "x", 1, None, {"stdout": 1}], ids=repr)
def test_raw_and_json_are_the_data(data: Any) -> None:
    assert get(data) == get(data, kind="raw") == get(data, kind="json") == data


@pytest.mark.parametrize(
    ("stdout", "expected"), [("[1]", [1]), ("null", None), ("x", "x"), ("", "")]
)
def test_json_of_a_process_is_its_stdout(stdout: str, expected: Any) -> None:
    assert get(process(stdout), kind="json", provider="process") == expected


# language 7.2


@pytest.mark.parametrize("name", ENVELOPE)
@pytest.mark.parametrize("data", [{"other": 1}, [1], "text", 5, None, True], ids=repr)
def test_the_envelope_is_behind_every_kind_of_data(data: Any, name: str) -> None:
    result = ProviderResult(True, 7, ("note",), data, {"m": 1})
    expected = result.envelope()[name]
    assert get(data, name) == expected
    assert get(data, f"{{{{ result.{name} }}}}") == expected


@pytest.mark.parametrize("name", ENVELOPE)
def test_a_key_of_the_data_goes_before_the_envelope(name: str) -> None:
    assert get({name: "own"}, name) == "own"
    assert get({name: "own"}, f"{{{{ result.{name} }}}}") == "own"
    assert get({name: None}, name) is None


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("stdout", '{"stdout": "in", "a": {"b": [1, 2]}, "code": 9}'),
        ("returncode", 0),
        ("json.a.b", [1, 2]),
        ("a.b[1]", 2),
        ("a.b | [0]", 1),
        ("length(a.b)", 2),
        ("a.b[?@ > `1`]", [2]),
        ("code", 9),
        ("success", True),
        ("data.returncode", 0),
        ("[returncode, a.b[0], success]", [0, 1, True]),
        ("{x: a.b, y: stderr}", {"x": [1, 2], "y": ""}),
        ("a.stdout", None),
        ("sort_by(a.b, &@)", [1, 2]),
        ("nothing || a.b[0]", 1),
    ],
)
def test_leading_names_of_a_process_are_its_own_or_its_jsons(
    expression: str, expected: Any
) -> None:
    stdout = '{"stdout": "in", "a": {"b": [1, 2]}, "code": 9}'
    assert get(process(stdout), expression, provider="process") == expected


def test_what_is_behind_a_pipe_is_no_leading_name() -> None:
    inside = process('[{"stdout": 1, "code": 2}]')
    assert get(inside, "[0] | stdout", provider="process") == 1
    assert get([{"code": 2}], "[0] | code") == 2


@pytest.mark.parametrize("provider", ["rest", "process", "env", "other"])
@pytest.mark.parametrize("expression", ["sum(x)", "{total: [sum(x)]}", "avg(x)", "x.sum(@)"])
def test_what_a_function_gives_is_a_number_that_json_can_hold(
    provider: str, expression: str
) -> None:
    with pytest.raises(StepError, match="output 'out'"):
        get({"x": [1e308, 1e308]}, expression, provider=provider)


@pytest.mark.parametrize("expression", ["a", "a.b[0]", "[0]", "@", "a[?b]", "*.a"])
def test_an_expression_that_finds_nothing_gives_null(expression: str) -> None:
    assert get(process("plain"), expression, provider="process") is None


def test_a_type_error_at_run_time_names_the_output() -> None:
    with pytest.raises(StepError, match=r"output 'out': jmespath 'length\(a\)'"):
        get({"a": 5}, "length(a)")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ result }}", {"a": {"b": 1}}),
        ("{{ result.a }}", {"b": 1}),
        ("<{{ result }}>", '<{"a":{"b":1}}>'),
        ("{{ result | jmespath('a.b') }}", 1),
        ("{{ status }}", {"success": True, "code": 7, "notes": ["note"]}),
        ("{{ meta.m }}", 1),
        ("{{ result.nothing is defined }}", False),
        ("{{ result.items() | list }}", [["a", {"b": 1}]]),
    ],
)
def test_templates_see_the_result(template: str, expected: Any) -> None:
    assert get({"a": {"b": 1}}, template) == expected


@pytest.mark.parametrize("data", [[1, 2], "text", 5, None, True], ids=repr)
def test_a_template_gives_the_data_as_it_is(data: Any) -> None:
    assert get(data, "{{ result }}") == data


def test_a_missing_name_of_the_result_is_told_with_the_nearest() -> None:
    with pytest.raises(StepError, match="the result has no 'usrs'; did you mean 'users'"):
        get({"users": []}, "{{ result.usrs }}")


# language 7.3

LOOP: list[Any] = []
LOOP.append(LOOP)
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ({"a": [float("nan")]}, r"output 'out' at a\[0\]: JSON can't hold the number nan"),
        (float("inf"), "output 'out': JSON can't hold the number inf"),
        ({"a": {"b": b"x"}}, "output 'out' at a.b: JSON can't hold a value of type 'bytes'"),
        ([dt.date(2024, 1, 1)], r"output 'out' at \[0\]: JSON can't hold a value of type 'date'"),
        ({"a": {1, 2}}, "type 'set'"),
        ({"a": {(1, 2): 3}}, "output 'out' at a: a key of type 'tuple' can't be JSON"),
        ({"a": "\ud800"}, "output 'out' at a: it is a text that is not valid Unicode"),
        (LOOP, r"output 'out' at \[0\]: it contains itself"),
        (DEEP, "output 'out': it is nested too deeply"),
        (object(), "type 'object'"),
    ],
    ids=["NaN", "infinity", "bytes", "date", "set", "key", "surrogate", "loop", "depth", "object"],
)
def test_what_json_can_not_hold_is_named_with_its_path(data: Any, part: str) -> None:
    with pytest.raises(StepError, match=part):
        get(data)


def test_what_json_can_not_hold_is_refused_in_templates_and_expressions_too() -> None:
    data = {"when": dt.datetime(2024, 1, 1), "list": [float("nan")]}
    for value in ("when", "{{ result.when }}", "at {{ result.when }}", "list", "{{ result.list }}"):
        with pytest.raises(StepError, match="output 'out'"):
            get(data, value)


@given(json_values(keys=st.text("ab"), max_leaves=6))
def test_every_json_value_is_an_output(data: Any) -> None:
    assert get(data) == data
    assert get({"k": data}, "k") == data
    assert get({"k": data}, "{{ result.k }}") == data
