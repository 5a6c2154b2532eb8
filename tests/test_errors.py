"""Errors: their text, their exit codes, and pickling between processes."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path

import pytest

from flowtoy_dagster import errors
from flowtoy_dagster.errors import (
    ConfigError,
    FlowtoyError,
    Location,
    Problem,
    RunInterrupted,
    StepError,
    TemplateError,
    UsageError,
)
from flowtoy_dagster.loader import load_flow

PLAIN = Problem("wrong", Location("f.yaml", 3, 5), "do right", order=30)
EARLIER = Problem("also wrong", Location("f.yaml", 1, 2), order=10)
MISSING = Problem(
    "Step 'b' depends on missing step(s): 'x'", Location("f.yaml", 9, 1), "there are none", True, 90
)


def test_a_configuration_error_lists_all_problems_in_file_order() -> None:
    # language 1.5
    assert str(ConfigError([PLAIN, EARLIER])) == (
        "f.yaml:1:2: also wrong\nf.yaml:3:5: wrong\n    do right"
    )


def test_dependencies_stand_under_their_heading_before_the_rest() -> None:
    # language 8.3
    assert str(ConfigError([PLAIN, MISSING])) == (
        "Flow configuration has invalid dependencies:\n"
        "  Step 'b' depends on missing step(s): 'x'\n"
        "    f.yaml:9:1: there are none\n"
        "f.yaml:3:5: wrong\n    do right"
    )


def test_a_problem_of_no_file_has_no_place() -> None:
    assert str(ConfigError([Problem("wrong")])) == "wrong"
    assert Problem("m", dependency=True).lines() == ["  m"]


@pytest.mark.parametrize(
    "error",
    [
        ConfigError([PLAIN, MISSING]), TemplateError("no 'x'", "input.url"),
        TemplateError("no 'x'"), StepError("it broke"), UsageError("wrong"),
        RunInterrupted("stopped"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_errors_survive_pickling(error: FlowtoyError) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(error, protocol))
        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert copy.args == error.args
        assert copy.__dict__ == error.__dict__


def test_every_error_is_in_the_tree_and_has_an_exit_code() -> None:
    found = [
        item
        for _, item in inspect.getmembers(errors, inspect.isclass)
        if issubclass(item, Exception) and item.__module__ == errors.__name__
    ]
    assert all(issubclass(item, FlowtoyError) for item in found)
    codes = {item.__name__: item.exit_code for item in found}
    assert codes["ConfigError"] == codes["UsageError"] == codes["HomeError"] == 2
    assert codes["RunError"] == codes["StepError"] == codes["TemplateError"] == 1
    assert codes["RunInterrupted"] == 130
    assert all(name in (errors.__doc__ or "") for name in codes)


# language 1.5
@pytest.mark.parametrize(
    ("written", "place"),
    [
        ('"a\\n\\n{{ nope }}"', "5:16"), ("'a\n\n        {{ nope }}'", "5:16"),
        (">\n        a\n\n        {{ nope }}", "5:16"), ("a\n\n        {{ nope }}", "5:16"),
        ("|\n        a\n\n        {{ nope }}", "8:1"), ("a {{ nope }}", "5:16"),
    ],
    ids=["escaped", "quoted", "folded", "plain", "literal", "one line"],
)
def test_a_name_in_a_text_of_several_lines_has_a_place_that_is_right(
    tmp_path: Path, written: str, place: str
) -> None:
    file = tmp_path / "f.yaml"
    before = "flow:\n  - name: a\n    source:\n      type: process\n      command: "
    file.write_text(f"{before}{written}\n")
    with pytest.raises(ConfigError) as told:
        load_flow(file)
    assert f"f.yaml:{place}: 'nope' is not a name" in str(told.value)
