"""JMESPath by its specification, not by Python's equality and numbers (language 7.2)."""

from __future__ import annotations

from typing import Any

import pytest

from flowtoy_dagster.errors import ConfigError, TemplateError
from flowtoy_dagster.flow.templates.jinja import check_jmespath, search
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.providers.base import Headers


@pytest.mark.parametrize(
    ("expression", "data", "found"),
    [
        ("contains(@, `true`)", [1, 0], False),
        ("contains(@, `1`)", [True], False),
        ("contains(@, `0`)", [False, 0.0], True),
        ("contains(@, `[1]`)", [[True]], False),
        ("contains(@, `9`)", "b9", False),
        ("contains(@, 'b')", "abc", True),
        ("@ == `1`", True, False),
        ("@ == `[true]`", [1], False),
        ("@ == `{\"a\": 1}`", {"a": True}, False),
        ("@ == `{\"a\": 1}`", {"a": 1.0}, True),
        ("@ != `false`", 0, True),
        ("[?@ == `true`]", [1, True, 1.0], [True]),
        ("to_number(@)", "1_000", None),
        ("to_number(@)", " 1", None),
        ("to_number(@)", "1\n", None),
        ("to_number(@)", "+1", None),
        ("to_number(@)", "01", None),
        ("to_number(@)", "nan", None),
        ("to_number(@)", "inf", None),
        ("to_number(@)", "1e999", None),
        ("to_number(@)", "\u0661", None),
        ("to_number(@)", "-1.5e2", -150.0),
        ("to_number(@)", "12345678901234567890123", 12345678901234567890123),
        ("to_number(@)", True, None),
        ("[?price > `10`].sku", [{"sku": "a", "price": 19}, {"sku": "b", "price": "12"}], ["a"]),
        ("@ > `10`", "12", None),
        ("@ < `2`", True, None),
        ("@ < `2`", None, None),
        ("a < b", {"a": "x", "b": "y"}, True),
        ("to_string(@)", {"a": "é"}, '{"a":"é"}'),
        ("keys(@)", Headers({"A": 1}), ["A"]),
        ('"content-type"', Headers({"Content-Type": "x"}), "x"),
        ("max(@)", [1, 3, 2], 3),
    ],
)
def test_values_are_those_of_json(expression: str, data: Any, found: Any) -> None:
    given = search(expression, data)
    assert given == found
    assert type(given) is type(found)


@pytest.mark.parametrize(
    ("expression", "data", "words"),
    [
        ("sort_by(@, &k)", [{"k": 1}, {"k": "b"}],
         "sort_by() takes keys that are all numbers or all texts, and was given a number and text"),
        ("max_by(@, &k)", [{"k": "b"}, {"k": 1}],
         "max_by() takes keys that are all numbers or all texts, and was given a number and text"),
        ("min_by(@, &k)", [{"k": 1}, {}],
         "min_by() takes keys that are all numbers or all texts, and was given null and a number"),
        ("max_by(@, &k)", [{"k": True}],
         "max_by() takes keys that are all numbers or all texts, and was given true or false"),
        ("type(&k)", {}, "type() takes a value, and was given an expression (&name)"),
        ("to_string(&k)", {}, "to_string() takes a value, and was given an expression (&name)"),
        ("to_array(&k)", {}, "to_array() takes a value, and was given an expression (&name)"),
        ("not_null(a, &k)", {}, "not_null() takes a value, and was given an expression (&name)"),
        ("contains(@, &k)", [], "contains() takes a value, and was given an expression (&name)"),
    ],
)
def test_what_a_function_can_not_take_is_told_in_words(
    expression: str, data: Any, words: str
) -> None:
    # language 7.2
    with pytest.raises(TemplateError) as caught:
        search(expression, data)
    assert str(caught.value).endswith(words)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("[?a == ", "after '==' at its end a value is missing, such as 'open' in single quotes"),
        ("a-b", "a key with '-' is written in double quotes: \"a-b\""),
        ("$.a", "it begins with '$': leave that out, the data is where an expression begins"),
        ("nope(@)", "there is no function 'nope'"),
        ("", "it is empty"),
        ("[" + "9" * 5000 + "]", "a number in the jmespath expression is too long"),
    ],
)
def test_what_a_template_can_not_read_is_told_in_the_same_words(
    expression: str, words: str
) -> None:
    # language 6.5
    with pytest.raises(TemplateError) as caught:
        search(expression, {})
    assert str(caught.value) == f"jmespath '{expression}': {words}"


@pytest.mark.parametrize("expression", [1, True, None, ["a"], {"a": 1}])
def test_an_expression_is_text(expression: Any) -> None:
    with pytest.raises(TemplateError, match="jmespath: an expression is text, in quotes"):
        search(expression, {})


@pytest.mark.filterwarnings("ignore:deprecated string literal syntax")
@pytest.mark.parametrize(
    ("expression", "warned"),
    [
        ("[?state == `'open'`]", "`'open'` is a text in JMESPath"),
        ("[?ok == `True`]", "`True` is a text in JMESPath"),
        ("[?price > `1,5`]", "`1,5` is a text in JMESPath"),
        ("[?price > `.5`]", "`.5` is a text in JMESPath"),
        ("contains(`[a, b]`, state)", "`[a, b]` is a text in JMESPath"),
        ("[?x == `{a: 1}`]", "`{a: 1}` is a text in JMESPath"),
        ("[?state == `running`]", None),
        ("[?day == `2024-01-31`]", None),
        ("[?ok == `true` && n > `-1.5e3` && t == `\"a\"`]", None),
        ("[?state == '`1,5`']", None),
    ],
)
def test_a_literal_that_is_no_json_is_warned_of(expression: str, warned: str | None) -> None:
    flow = load_flow({"flow": [{
        "name": "a", "source": "process", "input": {"command": ["true"]},
        "output": [{"name": "x", "value": expression}],
    }]})
    told = [warning.message.partition(".value: ")[2] for warning in flow.warnings]
    assert told == ([] if warned is None else [f"{warned}: what is in backticks is no JSON"])


@pytest.mark.parametrize(
    ("expression", "data"),
    [
        ("merge(defaults, own)", {"defaults": {"a": 1}, "own": None}),
        ("length(@)", 1),
        ("sort(@)", [1, "a"]),
        ("sum(@)", ["a"]),
        ("max_by(@, &a)", [{"a": 1}, {"a": "x"}]),
        ("not_null(length(@))", 1),
    ],
)
def test_wrong_types_are_errors(expression: str, data: Any) -> None:
    with pytest.raises(TemplateError, match="jmespath"):
        search(expression, data)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("lenght(a)", "there is no function 'lenght': did you mean 'length'?"),
        ("a[?b == zzz(c)].[{x: length(a)}]", "there is no function 'zzz'"),
        ("length(a, b)", r"length\(\) takes 1 argument, got 2"),
        ("join(',')", r"join\(\) takes 2 arguments, got 1"),
        ("merge()", r"merge\(\) takes at least 1 arguments, got 0"),
    ],
)
def test_what_can_not_be_right_is_an_error_before_anything_runs(expression: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_jmespath(expression)
    output = {"name": "x", "value": expression}
    step = {"name": "a", "source": {"type": "process", "command": ["true"]}, "output": [output]}
    with pytest.raises(ConfigError, match=why):
        load_flow({"flow": [step]})


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("[::0]", "the step of a slice can't be 0"),
        ("a[*].b[1:2:0] | c", "the step of a slice can't be 0"),
        ("&a", "'&' makes an argument"),
        ("[&a, b]", "'&' makes an argument"),
        ("`1e999`", "JSON can't hold the number inf"),
        ("a == `[{\"b\": NaN}]`", "JSON can't hold the number nan"),
    ],
)
@pytest.mark.parametrize("data", [None, [1, 2], {"a": 1}])
def test_what_fails_whatever_the_data_is_fails_the_step(
    expression: str, why: str, data: Any
) -> None:
    check_jmespath(expression)
    with pytest.raises(TemplateError, match=why):
        search(expression, data)
