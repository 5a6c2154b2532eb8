"""Parameters: what may be declared, and what values they get (language 15)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import ConfigError, load_flow
from flowtoy_dagster.flow.graph import Flow, Values
from flowtoy_dagster.flow.param_values import bind, bound, see_params
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets

STEP = {"name": "a", "source": "env"}


def flow_with(params: dict[str, Any], **more: Any) -> Flow:
    return load_flow({"params": params, "flow": [STEP], **more})


def public(flow: Flow) -> dict[str, Any]:
    assert flow.values is not None
    return dict(flow.values.public)


def refused(params: dict[str, Any], *texts: str) -> list[tuple[str, str | None]]:
    with pytest.raises(ConfigError) as raised:
        bind(flow_with(params), texts=texts)
    return [(problem.message, problem.hint) for problem in raised.value.problems]


def test_values_in_files_that_yaml_reads_as_something_else_are_warned_of(tmp_path: Path) -> None:
    # language 1.5
    file = tmp_path / "values.yaml"
    file.write_text("""\
l: [no, 0755, "no", {a: 12:30}, 7, true]
o: {zip: 01234, token: 0755}
secret: [1:30]
n: 0755
""")
    flow = flow_with({
        "l": {"type": "list"}, "o": {"type": "object"}, "n": {"type": "integer"},
        "secret": {"type": "list"},
    })
    listed = [(str(one.location), one.message) for one in bind(flow, files=[file]).warnings]
    assert listed == [
        (f"{file}:1:5", "no is false in YAML 1.1"),
        (f"{file}:1:9", "0755 is the number 493 in YAML 1.1 (octal)"),
        (f"{file}:1:25", "12:30 is the number 750 in YAML 1.1"),
        (f"{file}:2:10", "01234 is the number 668 in YAML 1.1 (octal)"),
        (f"{file}:2:24", "this value is not text in YAML 1.1"),
        (f"{file}:3:10", "this value is not text in YAML 1.1"),
    ]


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("eu", "string"), (3, "integer"), (0.5, "number"), (True, "boolean"), ([1], "list"),
        ({"default": {"a": 1}}, "object"), ({"default": None}, "string"), ({}, "string"),
        ({"enum": [1, 2]}, "integer"), ({"type": "number", "default": 1}, "number"),
    ],
    ids=str,
)
def test_the_type_is_the_defaults_unless_it_is_declared(declared: Any, expected: str) -> None:
    # language 15.1
    assert flow_with({"p": declared}).params["p"].config.type == expected


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("string", "1", "1"), ("string", "a=b", "a=b"), ("string", "", ""),
        ("integer", "-7", -7), ("integer", "9" * 30, int("9" * 30)),
        ("number", "1e3", 1000.0), ("number", "2", 2),
        ("boolean", "true", True), ("boolean", "False", False),
        ("list", '[1, "b", null]', [1, "b", None]), ("object", '{"a": [1]}', {"a": [1]}),
    ],
)  # fmt: skip
def test_a_text_is_read_as_the_type_says(kind: str, text: str, expected: Any) -> None:
    # language 15.3
    found = public(bind(flow_with({"p": {"type": kind}}), texts=[f"p={text}"]))["p"]
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("integer", "1.5", "expected a whole number, got the number 1.5"),
        ("integer", "ten", "expected a whole number, got 'ten'"),
        ("integer", "true", "expected a whole number, got true"),
        ("number", "NaN", "expected a number, got 'NaN'"),
        ("boolean", "1", "expected true or false, got the number 1"),
        ("boolean", "yes", "expected true or false, got 'yes'"),
        ("list", "a,b", "expected a list, as JSON such as [1, 2], got 'a,b'"),
        ("object", "[1]", "expected a mapping, got a list"),
    ],
)
def test_a_text_of_another_type_is_refused(kind: str, text: str, message: str) -> None:
    # language 15.3
    assert refused({"p": {"type": kind}}, f"p={text}") == [(f"the parameter 'p': {message}", None)]


def test_all_that_is_wrong_is_told_at_once() -> None:
    # language 15.3
    params = {"region": {"enum": ["eu", "us"]}, "limit": 1, "day": {}, "opts": {"type": "object"}}
    assert set(refused(params, "region=mars", "limti=2", "limit=x", "opts")) == {
        ("'opts' is not of the form NAME=VALUE", None),
        ("the parameter 'day' has no value", "give --param day=…"),
        ("the parameter 'limit': expected a whole number, got 'x'", None),
        ("the parameter 'opts' has no value", "give --param opts=…"),
        ("the parameter 'region': 'mars' is not one of \"eu\", \"us\"", None),
        ("there is no parameter 'limti'", "did you mean 'limit'?"),
    }


def test_values_win_in_the_order_text_file_earlier_run_variable_default(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # language 15.3
    names = ["by_text", "by_file", "by_run", "by_variable", "by_default"]
    flow = flow_with({name: {"default": "default", "env": "PARAM"} for name in names[:4]}
                     | {"by_default": "default"})
    monkeypatch.setenv("PARAM", "variable")
    first = write("{by_text: file, by_file: early}", "first.yaml")
    second = write('{"by_file": "file"}', "second.json")
    earlier = Values(dict.fromkeys(names[:3], "run"))
    chosen = bind(flow, texts=["by_text=text"], files=[first, second], before=earlier)
    assert public(chosen) == {name: name[3:] for name in names}


def test_what_is_wrong_in_a_file_is_told_at_its_place_there(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    # language 15.3
    path = write("region: 5\nregoin: eu\n", "values.yaml")
    broken, binary = write("[1]", "values.json"), tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff")
    with pytest.raises(ConfigError) as raised:
        bind(flow_with({"region": "eu"}), files=[path, broken, binary, "absent.yaml"])
    told = {(str(p.location), p.message) for p in raised.value.problems}
    assert told == {
        (f"{path}:1:1", "the parameter 'region': expected text, got the number 5"),
        (f"{path}:2:1", "there is no parameter 'regoin'"),
        (f"{broken}:1:1", "expected a mapping of parameters"),
        (f"{binary}:1:1", "not UTF-8 text"),
        ("None", "can't read the parameters 'absent.yaml': no such file or directory"),
    }


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ('{\n  "region": "eu",\n  "days": "x"\n}', "3:3",
         "the parameter 'days': expected a whole number, got 'x'"),
        ('{"region": "eu",\n "nope": 1}', "2:2", "there is no parameter 'nope'"),
        ('{"region": "eu",\n  "days" 5}', "2:10", "not readable: Expecting ':' delimiter"),
        # No YAML, so without places: its escapes are halves of one character.
        ('{\n"region": "\\ud83d\\ude00", "days": "x"}', "1:1",
         "the parameter 'days': expected a whole number, got 'x'"),
    ],
)
def test_what_is_wrong_in_json_is_told_at_its_place(
    text: str, place: str, message: str, write: Callable[..., Path]
) -> None:
    # language 15.3
    path = write(text, "values.json")
    with pytest.raises(ConfigError) as raised:
        bind(flow_with({"region": "eu", "days": 1}), files=[path])
    assert [(str(p.location), p.message) for p in raised.value.problems] == [
        (f"{path}:{place}", message)
    ]


@pytest.mark.parametrize("name", ["region", "a_token"])
def test_a_value_that_is_not_utf8_is_an_error_before_the_run(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # language 15.3
    flow = flow_with({"region": "eu", "a_token": {"type": "string", "default": "x", "env": "TOK"}})
    with pytest.raises(ConfigError, match=f"the parameter '{name}': it is not UTF-8 text"):
        bind(flow, texts=[f"{name}=hid\udcffden"])
    monkeypatch.setenv("TOK", "hid\udcffden")
    with pytest.raises(ConfigError, match="'a_token': the variable TOK: it is not UTF-8 text"):
        bind(flow)


def test_a_default_of_null_makes_a_parameter_optional() -> None:
    # language 15.1
    flow = flow_with({"p": {"type": "integer", "default": None}})
    assert public(bound(flow)) == {"p": None}
    assert public(bind(flow, texts=["p=null"])) == {"p": None}
    assert public(bind(flow, texts=["p=3"])) == {"p": 3}


@pytest.mark.parametrize(
    ("name", "declared", "secret"),
    [
        ("api_token", {}, True), ("max_tokens", {"secret": False, "default": 9}, False),
        ("pin", {"secret": True}, True), ("key", {}, False), ("region", {}, False),
    ],
)
def test_a_parameter_is_secret_where_it_or_its_name_says_so(
    name: str, declared: dict[str, Any], secret: bool
) -> None:
    # language 15.4, 13.1
    assert flow_with({name: declared}).params[name].secret is secret


def test_a_secret_that_was_given_is_no_part_of_what_is_kept_with_the_run() -> None:
    # language 15.4
    flow = bind(flow_with({"pin": {"secret": True}, "x": 1}), texts=["pin=9876-pin"])
    assert flow.values == Values({"x": 1}, {"pin": "9876-pin"})
    assert "9876-pin" not in json.dumps(flow.config)


def test_masks_know_secret_parameters_wherever_they_come_from() -> None:
    # language 15.4, 13.2
    params = {
        "given": {"secret": True}, "written": {"secret": True, "default": "sesame-1"},
        "listed": {"secret": True, "type": "list", "env": "LISTED"}, "token": {"default": None},
        "api_key": {"description": "where a description is no secret", "env": "PIN"},
    }
    flow = bind(flow_with(params), {"given": "sesame-2"}, elsewhere=True)
    environment = {"LISTED": '["sesame-3", 4444]', "PIN": "sesame-5"}
    mask = FlowSecrets(flow).mask(environment)
    # A number is a secret only where it is the whole value.
    assert mask.values == {"sesame-1", "sesame-2", "sesame-3", "sesame-5"}


def test_a_refused_secret_is_not_told() -> None:
    # language 15.4
    found = refused({"pin": {"type": "integer", "secret": True}}, "pin=hunter-2")
    assert found == [("the parameter 'pin': expected a whole number", None)]


def test_a_step_sees_a_secret_by_the_variable_of_its_own_process() -> None:
    # language 15.4
    flow = bind(flow_with({"token": {"env": "SHOP"}}), elsewhere=True)
    assert see_params(flow, {"SHOP": "sesame"}).values == {"token": "sesame"}
    seen = see_params(flow, {})
    assert seen.values == {}
    assert seen.why_missing("token") == (
        "the parameter 'token' has no value: the variable SHOP is not set"
    )


def test_a_whole_number_has_no_fraction_although_dagster_gives_it_one() -> None:
    # language 15.2
    flow = flow_with({"ratio": {"type": "number", "default": 1}})
    seen = see_params(bind(flow, before=Values({"ratio": 2.0})), {}).values["ratio"]
    assert (seen, type(seen)) == (2, int)


def test_steps_know_the_parameters_that_their_templates_name() -> None:
    # language 15.2
    flow = load_flow(
        {
            "params": {"host": "http://x", "page": 1, "unused": 2, "wait": "1s"},
            "sources": {"api": {"type": "rest", "base_url": "{{ params.host }}"}},
            "flow": [
                {"name": "a", "source": "api", "input": {"url": "/{{ params['page'] }}"}},
                {"name": "b", "source": "env", "input": "{{ sources.api.base_url }}",
                 "timeout": "{{ params.wait }}"},
                {"name": "c", "source": "env", "input": "{{ params }}"},
                {"name": "d", "source": "env"},
            ],
        }
    )
    assert {step.name: step.params for step in flow.steps} == {
        "a": ("host", "page"), "b": ("host", "wait"),
        "c": ("host", "page", "unused", "wait"), "d": (),
    }


def test_values_that_are_given_directly_win_over_files(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("n: 1\nm: 1\n")
    files = [tmp_path / "values.yaml"]
    flow = flow_with({"n": 0, "m": 0, "o": 0})
    assert public(bind(flow, {"n": 2}, files=files)) == {"n": 2, "m": 1, "o": 0}
    assert public(bind(flow, {"n": 2}, files=files, texts=["n=3"]))["n"] == 3


@pytest.mark.parametrize(
    ("given", "seen"),
    [(2.0**53 - 1, 2**53 - 1), (-(2.0**53) + 1, -(2**53) + 1), (2.0**53, 2.0**53), (1e300, 1e300)],
)
def test_a_number_that_may_have_lost_digits_stays_one_with_a_fraction(
    given: float, seen: float
) -> None:
    value = flow_with({"n": 0.5}).params["n"].native(given)
    assert (value, type(value)) == (seen, type(seen))


@pytest.mark.parametrize(
    ("content", "why", "place"),
    [
        ('{"n": 1e999, "i": 1234567890123456789012}', "too large", "1:1"),
        ('{"n": 1,\n\t"n": 2}', "the key 'n' is given twice; first at .*json:1:2", "2:2"),
        ('{"n": {"a": 1, "b": {"c": 1,\n "c": 2}}}', "the key 'c' is given twice", "2:2"),
        ('{"n": NaN}', "unexpected character|NaN is not", "1:1"),
        ('{"n": [1e999, 0.1234567890123456789012]}', "too large", "1:1"),
    ],
)
def test_json_of_parameters_that_can_not_be_held_is_an_error_in_its_file(
    tmp_path: Path, content: str, why: str, place: str
) -> None:
    path = tmp_path / "values.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=why) as raised:
        bind(flow_with({"n": {"type": "number", "default": 1}}), files=[path])
    assert str(raised.value).startswith(f"{path}:{place}: ")
