"""`flowtoy schema`: it accepts every valid flow, and rejects what a schema can tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.flow.files.loading import read_files
from flowtoy_dagster.json_schema.flow_schema import flow_schema
from flowtoy_dagster.json_schema.writer import FORMS
from flowtoy_dagster.providers.kinds import PROVIDERS
from flowtoy_dagster.providers.rest.auth.custom import CustomAuth
from flowtoy_dagster.providers.rest.auth.grants import TokenRequest
from flowtoy_dagster.providers.rest.auth.kinds import AUTHS, ShortAuth
from flowtoy_dagster.providers.rest.pages.paginators import PAGINATORS

ROOT = Path(__file__).parent.parent.parent
CASES = ROOT / "tests" / "conformance"
NEEDS_MORE = (
    "both_places", "broken_env_file", "cycle", "duplicate", "missing", "mixed_input", "names",
    "note_as_source", "notify_templates", "param_values", "self_reference", "syntax", "template",
    "unknown", "when", "run_if", "until", "each", "group", "incremental", "rate_places",
    "reference", "request_values", "rest_pages", "same_file", "without", "step_attributes",
)
"""Words in the names of invalid cases that a schema need not tell: what they refer to, say as
templates or JMESPath, or lack once everything is merged."""


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return flow_schema()


@pytest.fixture(scope="module")
def check(schema: dict[str, Any]) -> Callable[[Any], list[str]]:
    validator = jsonschema.Draft7Validator(schema)
    return lambda value: [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
        for error in validator.iter_errors(value)
    ]


def plain(path: Path) -> Any:
    return read_files([path]).root.plain()


def test_the_schema_is_one(schema: dict[str, Any]) -> None:
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator.check_schema(flow_schema(partial=True))


def test_every_valid_flow_fits(check: Callable[[Any], list[str]]) -> None:
    partial = jsonschema.Draft7Validator(flow_schema(partial=True))
    flows = [*CASES.glob("valid_*.yaml"), *(ROOT / "examples").rglob("*.yaml")]
    flows = [path for path in flows if not path.name.endswith(".test.yaml")]
    wrong = {}
    for path in flows:
        value = plain(path)
        errors = check(value) if "flow" in value else list(partial.iter_errors(value))
        if errors:
            wrong[path.name] = errors
    assert len(flows) > 100
    assert wrong == {}


def test_invalid_flows_do_not_fit_unless_a_schema_can_not_tell(
    check: Callable[[Any], list[str]]
) -> None:
    accepted, rejected = set(), set()
    for path in CASES.glob("invalid_*.yaml"):
        try:
            value = plain(path)
        except ConfigError:
            continue  # no YAML
        (rejected if check(value) else accepted).add(path.stem.removeprefix("invalid_"))
    assert len(rejected) >= 59
    assert [name for name in accepted if not any(word in name for word in NEEDS_MORE)] == []


STEP = {"name": "a", "source": "process", "input": {"command": ["true"]}}


@pytest.mark.parametrize(
    "flow",
    [
        {"flow": [{**STEP, "timeout": "5m", "retry": 3}]},
        {"flow": [{**STEP, "timeout": "{{ params.t }}", "retry": {"max": "{{ 3 }}"}}]},
        {"flow": [{**STEP, "for_each": "{{ [1] }}", "depends_on": "b", "when": True}]},
        {"flow": [STEP], "sources": {"x-note": 1, "s": {"type": "rest", "url": "{{ env.U }}"}}},
        {"flow": [{**STEP, "source": {"base": "s", "override": {"url": "/x"}}}], "x-note": [1]},
        {"flow": [{**STEP, "output": [{"name": "f", "type": "file", "format": "csv"}]}]},
        {"flow": [STEP], "params": {"a": 1, "b": {"type": "string"}}, "runner": None},
    ],
)
def test_short_forms_and_templates_fit(flow: Any, check: Callable[[Any], list[str]]) -> None:
    assert check(flow) == []


@pytest.mark.parametrize(
    "flow",
    [
        {},
        {"flow": []},
        {"flow": [{"name": "a"}]},
        {"flow": [{**STEP, "colour": "red"}]},
        {"flow": [{**STEP, "timeout": "soon"}]},
        {"flow": [{**STEP, "retry": "often"}]},
        {"flow": [{**STEP, "on_error": "explode"}]},
        {"flow": [{**STEP, "for_each": 3}]},
        {"flow": [STEP], "sources": {"s": {"type": "rest", "ulr": "http://h"}}},
        {"flow": [STEP], "sources": {"s": {"type": "rest", "configuration": {"ulr": "x"}}}},
        {"flow": [STEP], "sources": {"s": {"type": "rets"}}},
        {"flow": [STEP], "sources": {"s": {"url": "http://h"}}},
        {"flow": [{**STEP, "output": [{"name": "f", "type": "file", "fromat": "csv"}]}]},
        {"flow": [STEP], "runner": {"max_workers": 0}},
        {"flow": [STEP], "runner": {"executor": "hot"}},
        {"flow": [STEP], "schedule": {"cron": 5}},
    ],
)
def test_mistakes_do_not_fit(flow: Any, check: Callable[[Any], list[str]]) -> None:
    assert check(flow)


def test_nothing_is_required_of_a_file_that_is_merged_over_another() -> None:
    partial = jsonschema.Draft7Validator(flow_schema(partial=True))
    assert partial.is_valid({"sources": {"s": {"url": "http://h"}}, "runner": {"max_workers": 2}})
    assert not partial.is_valid({"runner": {"max_wokers": 2}})


def test_every_key_has_a_description(schema: dict[str, Any]) -> None:
    lacking = []
    named = {"StepConfig", "SourceConfig", "SourceReference", "OutputConfig", "RetryConfig",
             "RunnerConfig", "ForEachConfig", "IncrementalConfig", "ScheduleConfig", "NotifyConfig",
             "ParamConfig", "GroupConfig"}  # fmt: skip
    assert named <= set(schema["$defs"])
    for name, part in {"": schema, **{each: schema["$defs"][each] for each in named}}.items():
        for key, value in part["properties"].items():
            if not value.get("description"):
                lacking.append(f"{name}.{key}")
    for name in PROVIDERS.builtin:
        rule = next(rule for rule in schema["$defs"]["SourceConfig"]["allOf"]
                    if rule["if"]["properties"]["type"]["const"] == name)
        properties = rule["then"]["properties"]["configuration"]["properties"]
        for key, value in properties.items():
            if not schema["$defs"][value["$ref"].removeprefix("#/$defs/")].get("description"):
                lacking.append(f"{name}.{key}")
    assert lacking == []


def test_paginators_auth_and_inputs_are_described_too(schema: dict[str, Any]) -> None:
    parts = schema["$defs"]
    models = [*PAGINATORS.values(), *AUTHS.values(), ShortAuth, CustomAuth, TokenRequest]
    assert [
        f"{model.__name__}.{key}"
        for model in models
        for key, value in parts[model.__name__]["properties"].items()
        if not value.get("description")
    ] == []
    for name in PROVIDERS.builtin:
        keys = parts[f"{name}_input"]["anyOf"][0]["properties"]
        assert set(keys) == set(PROVIDERS[name].request_keys or ())


SOURCE = {"type": "rest", "url": "http://h"}


@pytest.mark.parametrize(
    "source",
    [
        {**SOURCE, "paginator": {"type": "cursor", "cursor_param": "after"}},
        {**SOURCE, "paginator": "header_link"},
        {**SOURCE, "paginator": "{{ params.pages }}"},
        {**SOURCE, "paginator": {"type": "{{ params.type }}", "limit": 2}},
        {**SOURCE, "auth": {"bearer": "{{ env.TOKEN }}"}},
        {**SOURCE, "auth": {"basic": {"username": "ada", "password": "x"}}},
        {**SOURCE, "auth": {"provider": "requests.auth:HTTPDigestAuth", "username": "ada"}},
        {**SOURCE, "auth": {"type": "token", "request": {"url": "/login", "json": {"a": 1}}}},
    ],
)
def test_forms_of_paginators_and_auth_fit(
    source: Any, check: Callable[[Any], list[str]]
) -> None:
    assert check({"flow": [STEP], "sources": {"s": source}}) == []
    assert check({"flow": [{**STEP, "source": source}]}) == []


@pytest.mark.parametrize(
    "source",
    [
        {**SOURCE, "paginator": {"type": "curser"}},
        {**SOURCE, "paginator": {"type": "cursor", "next_url_path": "next"}},
        {**SOURCE, "paginator": 3},
        {**SOURCE, "auth": {"type": "bearer", "tokn": "x"}},
        {**SOURCE, "auth": {"baerer": "x"}},
        {**SOURCE, "auth": "token"},
    ],
)
def test_mistakes_in_paginators_and_auth_do_not_fit(
    source: Any, check: Callable[[Any], list[str]]
) -> None:
    assert check({"flow": [STEP], "sources": {"s": source}})


@pytest.mark.parametrize(
    "given", [{"url": 5, "paginator": 3}, {"anything": [1]}, [1, 2], "text", None, 7]
)
def test_any_input_fits_as_it_may_be_a_payload(
    given: Any, check: Callable[[Any], list[str]]
) -> None:
    assert check({"flow": [{"name": "a", "source": "s", "input": given}]}) == []
    assert check({"flow": [{"name": "a", "source": "rest", "input": given}]}) == []


def test_the_forms_are_those_of_validators_that_exist() -> None:
    sources = "\n".join(
        path.read_text("utf-8") for path in (ROOT / "flowtoy_dagster").rglob("*.py")
        if "json_schema" not in path.parts
    )
    assert [name for name in FORMS if f"def {name}(" not in sources] == []


def test_the_command_prints_it(flowtoy: Callable[..., Any], schema: dict[str, Any]) -> None:
    assert flowtoy("schema").json == schema
