"""Every flow in `invalid_*.yaml` is refused with the errors that `table_invalid.yaml` lists."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowtoy_dagster.errors import DEPENDENCIES_HEADING, ConfigError
from flowtoy_dagster.loader import load_flow

HERE = Path(__file__).parent
CASES: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "table_invalid.yaml").read_text("utf-8"))
# One in so many starts Python as a user does; the others are forked (see `Commands`).
STARTS_PYTHON = list(CASES)[::15]
each_case = pytest.mark.parametrize("name", CASES, ids=lambda name: Path(name).stem)
# A place begins a line; under the heading of dependencies it begins the line below the error.
PLACE = re.compile(r"^(?:    )?((?:<stdin>|[\w.-]+):\d+:\d+)", re.MULTILINE)


def _told(case: dict[str, Any]) -> list[str]:
    return [error["at"] for error in case["errors"]]


def _texts(case: dict[str, Any]) -> list[str]:
    return [error[key] for error in case["errors"] for key in ("text", "hint") if key in error]


def test_the_table_lists_every_file() -> None:
    assert sorted(CASES) == sorted(path.name for path in HERE.glob("invalid_*.yaml"))


@each_case
def test_loading_raises_the_listed_errors(
    name: str, at_case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    if "arguments" in case:
        pytest.skip("needs an option of the command line")
    files = case.get("files", [name])
    if files == ["-"]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((HERE / name).read_bytes())))

    with pytest.raises(ConfigError) as raised:
        load_flow(files)

    told = [(str(p.location), p.message, p.hint) for p in raised.value.problems]
    listed = [(error["at"], error["text"], error.get("hint")) for error in case["errors"]]
    assert sorted(told, key=str) == sorted(listed, key=str)
    # language 1.5: in file order
    assert [p.order for p in raised.value.problems] == sorted(
        p.order for p in raised.value.problems
    )


@each_case
def test_command_line_tells_the_listed_errors_and_nothing_else(
    name: str, at_case: Path, flowtoy: Callable[..., Any]
) -> None:
    case = CASES[name]
    files = case.get("files", [name])
    stdin = (HERE / name).read_text("utf-8") if files == ["-"] else None

    env = {"START_PYTHON": "1"} if name in STARTS_PYTHON else None
    done = flowtoy("run", *files, *case.get("arguments", []), stdin=stdin, env=env)

    assert done.code == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert PLACE.findall(done.stderr) == _told(case)
    said = " ".join(done.stderr.split())
    for text in _texts(case):
        part = " ".join(text.split())
        assert part in said
        said = said.partition(part)[2]
    # language 8.3
    assert done.stderr.startswith(DEPENDENCIES_HEADING) == any(
        re.match(r"Steps? ", error["text"]) for error in case["errors"]
    )
