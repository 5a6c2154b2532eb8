"""The flows of sections 18 and 19 give the same outputs on each executor of this machine.

`FLOWTOY_EXECUTOR_FLOWS=all` runs all of them on `multiprocess`, too, which starts Python for each
step; else it is a part of them. What `warm` gives is in `test_valid_flows.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parent
CASES: dict[str, dict[str, Any]] = {
    name: case
    for name, case in yaml.safe_load((HERE / "table_valid.yaml").read_text("utf-8")).items()
    if any(rule.startswith(("18", "19")) for rule in case["rule"])
}
SOME = list(CASES) if os.environ.get("FLOWTOY_EXECUTOR_FLOWS") == "all" else list(CASES)[::6]


# language 18.10, 19.1, 19.2, 19.3, 19.4
@pytest.mark.parametrize(
    ("executor", "name"),
    [
        pytest.param(executor, name, id=f"{executor}-{Path(name).stem}")
        for executor, names in (("in_process", list(CASES)), ("multiprocess", SOME))
        for name in names
    ],
)
@pytest.mark.usefixtures("made_home")
def test_each_executor_gives_the_listed_outputs(
    executor: str,
    name: str,
    at_case: Path,
    monkeypatch: pytest.MonkeyPatch,
    flowtoy: Callable[..., Any],
) -> None:
    case = CASES[name]
    for variable, value in case.get("env", {}).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("FLOWTOY_EXECUTOR", executor)
    if case.get("place"):
        place = at_case / "place"
        place.mkdir()
        monkeypatch.setenv("PLACE", str(at_case if case.get("chdir") else place))

    done = flowtoy("run", *case.get("files", [name]), "-j", *case.get("arguments", []))

    assert done.code == 0, done.stderr
    assert done.json == case["outputs"], done.stderr


# language 18, 19
def test_as_many_flows_as_are_asked_for_show_them() -> None:
    assert len(CASES) >= 60
    assert len(SOME) >= 10
