"""What a program gives to `run_flow` that can't be used: an error, before anything happens."""

from __future__ import annotations

import datetime as dt
import os
import types
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import ConfigError, UsageError, load_flow, run_flow
from flowtoy_dagster.flow.param_values import bind
from flowtoy_dagster.runs.history import History

STEP = {"name": "a", "source": "process", "input": {"command": ["echo", "x"]}}
FLOW: dict[str, Any] = {"params": {"p": "x"}, "flow": [STEP]}
NAN = float("nan")


def flow_of(word: Any) -> Any:
    return {"flow": [{**STEP, "input": {"command": ["echo", word]}}]}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({**FLOW, "params": {"p": NAN}}, r"params\.p: nan is not a number that JSON can hold"),
        (flow_of(float("inf")), r"flow\[0\]\.input\.command\[1\]: inf is not a number"),
        (flow_of(dt.date(2026, 1, 1)), r"command\[1\]: expected what a file can .* type 'date'"),
        (flow_of(Decimal(1)), r"command\[1\]: expected what .*'Decimal'"),
        (flow_of({1}), r"command\[1\]: expected what .*'set'"),
        (flow_of(b"x"), r"command\[1\]: expected what .*'bytes'"),
        (flow_of(Path("x")), r"command\[1\]: expected what .*'PosixPath'"),
        (flow_of({"a": 1}), r"^flow\[0\]\.input\.command\[1\]: expected text, got a mapping"),
        (5, "expected a path, several or a mapping, got the number 5"),
        (None, "expected a path, several or a mapping, got nothing"),
        ([], "no configuration file given"),
    ],
)
def test_a_configuration_that_no_file_could_hold_is_an_error_at_its_path(
    config: Any, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        load_flow(config)


def test_mappings_of_any_kind_are_taken() -> None:
    step = types.MappingProxyType({**STEP, "input": types.MappingProxyType(STEP["input"])})
    assert load_flow({"flow": (step,)}).config == load_flow({"flow": [STEP]}).config


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({1: 2}, "there is no parameter '1'"),
        (["p=1"], "expected a mapping of parameters, got a list"),
        ({"p": NAN}, "p: nan is not a number that JSON can hold"),
        ({"p": {"a": [object()]}}, r"p\.a\[0\]: expected what a file can hold.*'object'"),
        ({"p": dt.date(2026, 1, 1)}, "p: expected what a file can hold, .*'date'"),
    ],
)
def test_values_of_parameters_that_no_file_could_hold_are_errors(given: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        bind(load_flow(FLOW), given)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"max_workers": True}, "max-workers must be a whole number, got true"),
        ({"max_workers": 1.5}, "max-workers must be a whole number, got the number 1.5"),
        ({"max_workers": "2"}, "max-workers must be a whole number, got '2'"),
        ({"max_workers": 0}, "max-workers must be at least 1, got 0"),
        ({"home": ""}, "home: expected the path of a folder, got ''"),
        ({"home": 5}, "home: expected the path of a folder, got the number 5"),
        ({"home": "a\0b"}, "home: expected the path of a folder"),
        ({"record": ""}, "record: expected the path of a folder"),
        ({"replay": ""}, "replay: expected the path of a folder"),
        ({"tags": {"a": 1}}, "tags: expected a mapping of texts, got the number 1 in it"),
        ({"tags": {1: "a"}}, "tags: expected a mapping of texts, got the number 1 in it"),
        ({"tags": ["a"]}, "tags: expected a mapping of texts, got a list"),
        ({"tags": {"flowtoy/config": "x"}}, "'flowtoy/config' is set by flowtoy itself\n    give"),
        ({"tags": {"dagster/priority": "x"}}, "the tag 'dagster/priority' must be a whole number"),
    ],
)
def test_an_argument_that_can_not_be_used_is_an_error_before_anything_happens(
    arguments: Any, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    with pytest.raises(UsageError, match=told):
        run_flow(FLOW, **arguments)
    assert (os.listdir(tmp_path), tmp_path.stat().st_mode & 0o777) == ([], 0o755)
    assert os.listdir(home) == []


@pytest.mark.parametrize("executor", ["warm", "in_process", "multiprocess"])
@pytest.mark.parametrize("function", ["on_created", "on_change"])
def test_a_run_whose_program_fails_has_ended_when_the_error_comes(
    function: str, executor: str, made_home: Path
) -> None:
    def fail(*_: Any) -> None:
        raise LookupError("of the program")

    sleep = {"name": "b", "source": "process", "input": {"command": ["sleep", "600"]}}
    flow = {"runner": {"executor": executor}, "flow": [STEP, sleep]}
    with pytest.raises(LookupError, match="of the program"):
        run_flow(flow, **{function: fail})  # type: ignore[arg-type]
    with History(made_home) as history:
        status = history.status(history.find("last"))
    assert (status.state, status.error) == ("cancelled", None)
    assert not {"running", "pending"} & {step.state for step in status.steps.values()}
