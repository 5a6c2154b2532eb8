"""Configurations of odd shapes are errors in words, whatever stands where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.loader import load_flow

STEP = {"name": "it", "source": {"type": "process", "command": "true"}}
ITSELF: list[Any] = []
ITSELF.append(ITSELF)
DURATION = "expected a duration such as 30, '500ms', '30s', '5m' or '2h', got "


def step(**fields: Any) -> dict[str, Any]:
    return {"flow": [{**STEP, **fields}]}


def template(value: Any) -> dict[str, Any]:
    return step(output=[{"name": "o", "type": "template", "value": value}])


def rest(**keys: Any) -> dict[str, Any]:
    source = {"type": "rest", "base_url": "http://127.0.0.1"}
    return step(source=source, input={"url": "/", **keys})


SHAPES = {
    "a flow that is a number": ({"flow": 7}, "flow: expected a list of steps, got the number 7"),
    "a flow that is true": ({"flow": True}, "flow: expected a list of steps, got true"),
    "a template that is true": (template(True), "expected text, got true"),
    "a template that is a list": (template(["a"]), "expected text, got a list"),
    "a template that is a mapping": (template({"a": "b"}), "expected text, got a mapping"),
    "a timeout of 400 digits": (step(timeout=10**400), DURATION + "the number of 400 digits"),
    "a grace of 400 digits": (
        {**step(), "runner": {"grace": 10**400}}, DURATION + "the number of 400 digits",
    ),
    "a description of 5000 digits": (
        step(description=10**5000), "expected text, got the number of 5,000 digits",
    ),
    "an item's name of 5000 digits": (
        step(for_each={"in": [1], "as": "9" * 5000}), "an item's name is made of letters",
    ),
    "a selector of 5000 digits": (
        rest(data_selector="9" * 5000), "a number in the jmespath expression is too long",
    ),
    "a cron of 5000 digits": (
        {**step(), "schedule": {"cron": f"{'9' * 5000} * * * *"}}, "invalid minute '9999",
    ),
    "a list that holds itself": (step(input=ITSELF), "nested more than 200 levels deep"),
    "half a character": (step(description="\ud800"), "a text in it is not valid Unicode"),
    "a key that is half a character": (step(input={"\ud800": 1}), "is not valid Unicode"),
    "two keys that are one text": (step(tags={1: "a", "1": "b"}), "the key '1' is given twice"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_that_is_odd_is_an_error_in_words(shape: str) -> None:
    # language 1.2, 1.4, 1.5
    config, message = SHAPES[shape]
    with pytest.raises(ConfigError) as told:
        load_flow(config)
    assert message in str(told.value)
    assert "set_int_max_str_digits" not in str(told.value)


def test_a_missing_file_leads_to_flows_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("other.yaml", "other.test.yaml"):
        Path(name).write_text("flow: []")
    Path("gone.yaml").symlink_to("nowhere.yaml")
    Path("empty").mkdir()
    Path("flows").mkdir()
    for name in ("a.yaml", "flow.yaml", "flow.test.yaml"):
        (Path("flows") / name).write_text("flow: []")
    hints = {
        "flows": "name a file in it, such as 'flows/flow.yaml'",
        "empty": "there are no YAML files in 'empty'",
        ".": "name a file in it, such as 'gone.yaml'",
        "gone.yaml": "it is a link to 'nowhere.yaml', which does not exist",
        "zzz": "YAML files here: 'gone.yaml', 'other.yaml'",
    }
    for path, hint in hints.items():
        with pytest.raises(ConfigError) as told:
            load_flow(path)
        assert str(told.value).endswith(f"\n    {hint}")
