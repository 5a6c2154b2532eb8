"""Results of a loop's items that are not there any more: what runs again for that is said."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry, retry_run
from flowtoy_dagster.runs.run import run_flow

FLOW: dict[str, Any] = {
    "name": "loop",
    "runner": {"executor": "in_process"},
    "flow": [
        {
            "name": "details",
            "for_each": {"in": "{{ range(4) | list }}", "key": "k{{ item }}"},
            "source": "process",
            "input": {"command": ["sh", "-c", "echo $0 >> called; test $0 -ne 3", "{{ item }}"]},
        }
    ],
}


def cut(path: Path) -> None:
    """Leave the first half: the announcement, and the results of some items."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def lines_of_others(path: Path) -> None:
    path.write_text('[1]\n{"index": "x", "key": 1, "state": "succeeded"}\nnull\n', "utf-8")


def replace_by(make: Callable[[Path], None]) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


DAMAGES = {
    "gone": (Path.unlink, "of its items are gone"),
    "empty": (lambda path: path.write_bytes(b""), "3 of its items are gone"),
    "cut": (cut, "of its items are gone"),
    "others": (lines_of_others, "damaged lines in"),
    "folder": (replace_by(Path.mkdir), "can't be read: it is a folder"),
    "fifo": (replace_by(os.mkfifo), "can't be read: it is no regular file"),
    "itself": (replace_by(lambda path: path.symlink_to(path.name)), "can't be read: too many"),
}
CAN_BE_WRITTEN = ("gone", "empty", "cut", "others")


@pytest.fixture
def log(made_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results of a run of which one item has failed."""
    monkeypatch.chdir(tmp_path)
    assert run_flow(FLOW, 1).status.state == "failed"
    (path,) = made_home.glob("flowtoy-records/*/items/details")
    return path


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_retry_says_which_results_are_lost_before_and_in_its_history(
    damage: str, log: Path
) -> None:
    # language 18.9: items that succeeded are not called again, unless that can't be known
    act, told = DAMAGES[damage]
    act(log)
    with History() as history:
        plan = plan_retry(history, history.find("last"))
        (problem,) = (problem for problem in plan.all_problems() if told in problem)
        assert str(log) in problem
        assert f"    {problem}" in plan.lines()
        done = retry_run(history, plan, 1)
        status = history.status(history.find("last"))
    assert done.status.steps["details"].error == (
        "1 of 4 failed; the first is 'k3': sh exited with code 1"
    )
    assert problem in [warning.message for warning in status.steps["details"].warnings]


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_items_of_a_run_are_not_shown_as_if_they_were_all(
    damage: str, log: Path, flowtoy: Callable[..., Any]
) -> None:
    act, told = DAMAGES[damage]
    act(log)
    told = told.replace("3 of its", "4 of its")
    for more in ((), ("--json",)):
        shown = flowtoy("runs", "show", "last", "details", *more)
        assert "unexpected" not in shown.stderr
        assert told.split(":")[0] in shown.stderr
        assert str(log) in shown.stderr
        assert shown.code == (0 if damage in CAN_BE_WRITTEN else 1)


def test_what_is_whole_is_not_warned_of(log: Path, flowtoy: Callable[..., Any]) -> None:
    shown = flowtoy("runs", "show", "last", "details", "--json")
    assert (shown.code, shown.stderr) == (0, "")
    assert [item["state"] for item in json.loads(shown.stdout)][-1] == "failed"
    planned = flowtoy("plan", "--retry", "last")
    assert (planned.code, planned.stderr) == (0, "")
    again = flowtoy("retry", "last")
    assert again.code == 1
    assert "3 of 4 reused, 1 run" in again.stderr
    assert "warning" not in again.stderr


def test_a_plan_of_a_retry_warns_of_lost_results(
    log: Path, flowtoy: Callable[..., Any]
) -> None:
    log.write_bytes(b"")
    planned = flowtoy("plan", "--retry", "last", "--json")
    assert planned.code == 0
    assert planned.stderr == (
        f"warning: {log.as_uri()}: the results of 3 of its items are gone\n"
    )
