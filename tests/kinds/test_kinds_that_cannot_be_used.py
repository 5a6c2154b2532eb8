"""Kinds that are installed and can't be used: errors with a place, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.loader import load_flow, load_old_flow

MODULE = '''
import flowtoy_dagster as f

class NoMake(f.ProviderKind):
    pass

class Keys(f.ProviderKind):
    provider = dict
    request_keys = "path"

class Model(f.ProviderKind):
    provider = dict
    configuration_model = dict

class Raises(f.ProviderKind):
    provider = dict
    def missing(self, configuration):
        raise LookupError("the catalog is gone")
    def describe(self, configuration):
        raise LookupError("the catalog is gone")

class NoFinding(f.ProviderKind):
    provider = dict
    def warnings(self, configuration):
        return ["mind the gap"]

class Init(f.ProviderKind):
    provider = dict
    def __init__(self):
        raise LookupError("no licence")

class NoExtract(f.OutputKind):
    pass

class BadCheck(f.OutputKind):
    def check(self, value):
        raise LookupError("the grammar is gone")
    def extract(self, value, result, scope):
        raise ZeroDivisionError("by zero")

class BadExtract(f.OutputKind):
    needs_value = False
    def extract(self, value, result, scope):
        raise ZeroDivisionError("by zero")

class NoBuild(f.ExecutorKind):
    pass

class BadOptions(f.ExecutorKind):
    options_model = dict
    def build(self, options, max_workers, limits):
        raise LookupError("never")

number = 3
'''
POINTS = {
    "flowtoy.providers": {
        "no-make": "odd:NoMake", "keys": "odd:Keys", "model": "odd:Model", "raises": "odd:Raises",
        "no-finding": "odd:NoFinding", "init": "odd:Init", "number": "odd:number",
        "lost": "nowhere:Kind", "absent": "odd:Absent", "exits": "exits:Kind",
    },
    "flowtoy.outputs": {
        "no-extract": "odd:NoExtract", "bad-check": "odd:BadCheck", "number": "odd:number",
        "bad-extract": "odd:BadExtract", "lost": "nowhere:Kind",
    },
    "flowtoy.executors": {
        "no-build": "odd:NoBuild", "bad-options": "odd:BadOptions", "number": "odd:number",
        "lost": "nowhere:Kind",
    },
    "flowtoy.commands": {"lost": "nowhere:main", "number": "odd:number", "run": "odd:number"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def odd(site: Path, register: Callable[..., None]) -> None:
    """A package in which every kind is wrong."""
    (site / "odd.py").write_text(MODULE)
    (site / "exits.py").write_text("raise SystemExit('not here')\n")
    register("odd", POINTS)


def error_of(flow: str, tmp_path: Path) -> tuple[str, str]:
    """The place and the text of the one error of a flow."""
    path = tmp_path / "flow.yaml"
    path.write_text(flow, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_flow(path)
    (problem,) = raised.value.problems
    assert problem.location is not None
    return f"{problem.location.line}:{problem.location.column}", problem.message


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("no-make", "(odd:NoMake) has no 'provider': name the class whose instances are called"),
        ("keys", "(odd:Keys) has a 'request_keys' that is not a list of texts: 'path'"),
        ("model", "(odd:Model) has a 'configuration_model' that is not a pydantic model"),
        ("init", "(odd:Init) can't be made: LookupError: no licence"),
        ("number", "(odd:number) is neither a class with a method 'call' nor a ProviderKind"),
        ("lost", "(nowhere:Kind) fails to import: ModuleNotFoundError: No module named 'nowhere'"),
        ("absent", "(odd:Absent) fails to import: AttributeError: "),
        ("exits", "(exits:Kind) fails to import: SystemExit: not here"),
    ],
)
def test_a_provider_that_cannot_be_used_is_an_error_at_its_source(
    kind: str, why: str, tmp_path: Path
) -> None:
    # language 3.2
    place, message = error_of(f"flow: [{{name: a, source: {kind}}}]", tmp_path)
    assert place == "1:26"
    assert message.startswith(f"the provider '{kind}' {why}")


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("raises", "LookupError: the catalog is gone"),
        ("no-finding", "TypeError: 'warnings' must give Findings, got 'mind the gap'"),
    ],
)
def test_a_provider_whose_check_fails_is_an_error_at_the_step(
    kind: str, why: str, tmp_path: Path
) -> None:
    place, message = error_of(f"flow: [{{name: a, source: {kind}}}]", tmp_path)
    assert (place, message) == ("1:8", f"the provider '{kind}' can't check this: {why}")


@pytest.mark.parametrize(
    ("output", "place", "message"),
    [
        ("type: no-extract", "1:56", "(odd:NoExtract) has no method 'extract'"),
        ("type: number", "1:56", "(odd:number) is not a flowtoy_dagster.OutputKind"),
        ("type: lost", "1:56", "(nowhere:Kind) fails to import: ModuleNotFoundError"),
        ("type: bad-check, value: a", "1:40", "can't check this: LookupError: the grammar is gone"),
    ],
)
def test_an_output_type_that_cannot_be_used_is_an_error_at_the_output(
    output: str, place: str, message: str, tmp_path: Path
) -> None:
    # language 7.1
    found = error_of(f"flow: [{{name: a, source: env, output: [{{name: x, {output}}}]}}]", tmp_path)
    assert found[0] == place
    assert message in found[1]
    assert "the output type '" in found[1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-build", "(odd:NoBuild) has no method 'build'"),
        ("bad-options", "(odd:BadOptions) has an 'options_model' that is not a pydantic model"),
        ("number", "(odd:number) is not a flowtoy_dagster.ExecutorKind"),
        ("lost", "(nowhere:Kind) fails to import: ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_an_executor_that_cannot_be_used_is_an_error_at_its_name(
    name: str, message: str, tmp_path: Path
) -> None:
    # language 10.4
    flow = f"runner: {{executor: {name}}}\nflow: [{{name: a, source: env}}]"
    assert error_of(flow, tmp_path) == ("1:20", f"the executor '{name}' {message}")


@pytest.mark.parametrize(
    ("group", "flow", "noun"),
    [
        ("flowtoy.providers", {"flow": [{"name": "a", "source": "twin"}]}, "provider"),
        (
            "flowtoy.outputs",
            {"flow": [{"name": "a", "source": "env", "output": [{"name": "x", "type": "twin"}]}]},
            "output type",
        ),
        (
            "flowtoy.executors",
            {"flow": [{"name": "a", "source": "env"}], "runner": {"executor": "twin"}},
            "executor",
        ),
    ],
    ids=["provider", "output", "executor"],
)
def test_a_name_that_two_packages_have_is_an_error_that_names_them(
    group: str, flow: dict[str, Any], noun: str, register: Callable[..., None]
) -> None:
    # language 3.2
    register("first", {group: {"twin": "odd:A"}})
    register("second", {group: {"twin": "odd:B"}})
    with pytest.raises(ConfigError) as raised:
        load_flow(flow)
    message = str(raised.value)
    assert f"several packages provide the {noun} 'twin': the package '" in message
    assert "'first' (odd:A)" in message
    assert "'second' (odd:B)" in message


def test_what_cannot_be_described_has_a_plain_description() -> None:
    from flowtoy_dagster.flow.graph import Source
    from flowtoy_dagster.providers.kinds import describe

    assert describe(Source("raises", {})) == "the provider 'raises'"
    assert describe(Source("lost", {})) == "the provider 'lost'"


def test_a_flow_that_ran_before_is_shown_without_its_packages() -> None:
    flow = load_old_flow(
        {"flow": [{"name": "a", "source": "gone", "output": [{"name": "x", "type": "gone"}],
                   "input": {"x": 1}}],
         "runner": {"executor": "gone", "executor_options": {"x": 1}}}, "old"
    )  # fmt: skip
    assert flow.step("a").outputs[0].type == "gone"


@pytest.mark.usefixtures("made_home")
def test_on_the_command_line_every_one_of_them_is_a_message(
    flowtoy: Callable[..., Any], write: Callable[..., Path], site: Path
) -> None:
    env = {"PYTHONPATH": str(site)}
    for name, why in (("lost", "fails to import"), ("number", "is neither a Typer app nor a")):
        done = flowtoy(name, env=env)
        assert (done.code, done.stdout) == (2, "")
        assert f"the command '{name}'" in done.stderr
        assert why in done.stderr
        assert "Traceback" not in done.stderr
    assert "Run a flow and print its outputs" in flowtoy("run", "--help", env=env).stdout
    step = "flow: [{name: a, source: env, output: [{name: x, type: bad-extract}]}]"
    failed = flowtoy("run", write(step), env=env)
    assert failed.code == 1
    assert "output 'x': its type raised ZeroDivisionError: by zero" in failed.stderr
    assert "Traceback" not in failed.stderr
