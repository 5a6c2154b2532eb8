"""Every flow in `valid_*.yaml` gives the outputs that `table_valid.yaml` lists for it."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowtoy_dagster.loader import load_flow

HERE = Path(__file__).parent
CASES: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "table_valid.yaml").read_text("utf-8"))
# One in so many starts Python as a user does; the others are forked (see `Commands`).
STARTS_PYTHON = list(CASES)[::15]
each_case = pytest.mark.parametrize("name", CASES, ids=lambda name: Path(name).stem)


def _prepare(case: dict[str, Any], at_case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in case.get("env", {}).items():
        monkeypatch.setenv(variable, value)
    if case.get("place"):
        place = at_case / "place"
        place.mkdir()
        monkeypatch.setenv("PLACE", str(at_case if case.get("chdir") else place))


def _typed(value: Any) -> Any:
    """A value that differs where true and 1, or 1 and 1.0, do."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return type(value).__name__, value


def test_the_table_lists_every_file() -> None:
    assert sorted(CASES) == sorted(path.name for path in HERE.glob("valid_*.yaml"))


@each_case
def test_interpreted_flow_gives_the_listed_outputs(
    name: str, at_case: Path, monkeypatch: pytest.MonkeyPatch, interpret: Callable[..., Any]
) -> None:
    case = CASES[name]
    if not case.get("in_process", True):
        pytest.skip("needs an option of the command line")
    _prepare(case, at_case, monkeypatch)
    files = case.get("files", [name])
    if files == ["-"]:
        text = io.TextIOWrapper(io.BytesIO((HERE / name).read_bytes()))
        monkeypatch.setattr(sys, "stdin", text)

    ended = interpret(load_flow(files))

    outputs = {
        step: dict(end.outputs) if end.state == "succeeded" else None
        for step, end in ended.items()
    }
    errors = {step: end.error for step, end in ended.items() if end.state == "failed"}
    assert _typed(outputs) == _typed(case["outputs"]), errors
    assert bool(errors) == case.get("fails", False)


@each_case
@pytest.mark.usefixtures("made_home")
def test_command_line_prints_the_listed_outputs(
    name: str, at_case: Path, monkeypatch: pytest.MonkeyPatch, flowtoy: Callable[..., Any]
) -> None:
    case = CASES[name]
    _prepare(case, at_case, monkeypatch)
    files = case.get("files", [name])
    stdin = (HERE / name).read_text("utf-8") if files == ["-"] else None

    env = {"START_PYTHON": "1"} if name in STARTS_PYTHON else None
    done = flowtoy("run", *files, "-j", *case.get("arguments", []), stdin=stdin, env=env)

    assert "Traceback" not in done.stderr
    assert done.stdout, done.stderr
    assert _typed(done.json) == _typed(case["outputs"]), done.stderr
    # language 12: the order is the file's
    assert list(done.json) == list(case["outputs"])
    # language 9.5: a run fails where a failed step's own policy is `fail`
    assert done.code == 0, done.stderr
