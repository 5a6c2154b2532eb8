"""`flowtoy validate`: every error of every flow, and nothing is run."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GOOD = "flow: [{name: a, source: process, input: {command: [touch, made]}}]\n"
WARNS = 'flow:\n  - {name: a, source: process, input: {command: [awk, "{{ env.HOME }}"]}}\n'
BAD = """\
flow:
  - {name: a, source: proces}
  - {name: b, source: process, input: {command: [echo, "{{ 7 * 7 }}"]}, outputs: []}
"""
PLACES = {("bad.yaml", 2), ("bad.yaml", 3)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"good": GOOD, "warns": WARNS, "bad": BAD}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def test_all_errors_of_all_flows_are_printed_and_nothing_is_run(
    folder: Path, flowtoy: Callable[..., Any]
) -> None:
    home = folder / "home"
    files = ("good.yaml", "warns.yaml", "bad.yaml")
    done = flowtoy("validate", *files, env={"FLOWTOY_HOME": str(home)})
    assert done.code == 2
    assert done.stdout == "good.yaml: ok, 1 step\nwarns.yaml: ok, 1 step\n"
    assert "warns.yaml:2:55: warning: 'awk' reads the value of this template as code" in done.stderr
    assert "bad.yaml:2:" in done.stderr
    assert "bad.yaml:3:73: unknown key 'outputs'" in done.stderr
    assert done.stderr.endswith("1 of 3 flows can't run\n")
    assert not (folder / "made").exists()
    assert not home.exists()


def test_a_valid_flow_exits_with_0_though_it_has_warnings(
    folder: Path, flowtoy: Callable[..., Any]
) -> None:
    assert flowtoy("validate", "good.yaml").code == 0
    assert flowtoy("validate", "warns.yaml").code == 0
    done = flowtoy("validate", "-", stdin=GOOD)
    assert (done.code, done.stdout) == (0, "<stdin>: ok, 1 step\n")


def test_json_has_the_place_of_each_error(folder: Path, flowtoy: Callable[..., Any]) -> None:
    done = flowtoy("validate", "bad.yaml", "warns.yaml", "--format", "json")
    assert done.code == 2
    bad, warns = done.json
    assert (bad["files"], bad["valid"], bad["steps"]) == (["bad.yaml"], False, None)
    assert {(error["file"], error["line"]) for error in bad["errors"]} == PLACES
    assert all(error["message"] and error["column"] for error in bad["errors"])
    assert (warns["valid"], warns["steps"], warns["errors"]) == (True, 1, [])
    assert warns["warnings"][0]["hint"].startswith("give it as a variable in 'env'")


def test_annotations_are_lines_with_a_place(folder: Path, flowtoy: Callable[..., Any]) -> None:
    done = flowtoy("validate", ".", "--format", "github")
    assert (done.code, done.stderr) == (2, "")
    lines = done.stdout.splitlines()
    assert all(line.startswith(("::error file=", "::warning file=")) for line in lines)
    assert any(line.startswith("::error file=bad.yaml,line=2,col=") for line in lines)
    assert any("%0Adid you mean 'process'?" in line for line in lines)


def test_a_folder_has_flows_as_in_a_deployment(tmp_path: Path, flowtoy: Callable[..., Any]) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "shop.yaml").write_text(GOOD)
    (tmp_path / "flows" / "shop.prod.yaml").write_text("name: shop\n")
    (tmp_path / "flows" / "workspace.yaml").write_text("load_from: []\n")
    done = flowtoy("validate", "flows")
    assert (done.code, done.stdout) == (
        0, "flows/shop.yaml + flows/shop.prod.yaml: ok, 1 step\n"
    )


def test_files_may_be_merged_into_one_flow(tmp_path: Path, flowtoy: Callable[..., Any]) -> None:
    (tmp_path / "base.yaml").write_text(GOOD)
    (tmp_path / "local.yaml").write_text("runner: {max_workers: 2}\n")
    assert flowtoy("validate", "base.yaml", "local.yaml").code == 2  # one has no flow of its own
    done = flowtoy("validate", "base.yaml", "local.yaml", "--merge")
    assert (done.code, done.stdout) == (0, "base.yaml + local.yaml: ok, 1 step\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.yaml"], "can't read the configuration 'absent.yaml': no such file"),
        (["empty"], "there is no flow in the folder 'empty'\n    flowtoy init empty writes"),
        (["empty", "--merge"], "'empty' is a folder: --merge takes files"),
        (["-", "--watch"], "standard input can't be watched"),
    ],
)
def test_what_can_not_be_checked_is_an_error(
    arguments: list[str], message: str, tmp_path: Path, flowtoy: Callable[..., Any]
) -> None:
    (tmp_path / "empty").mkdir()
    done = flowtoy("validate", *arguments)
    assert done.code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_watched_flow_is_checked_again_when_it_changes(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "flowtoy_dagster", "validate", "bad.yaml", "--watch"],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    assert process.stdout is not None
    while "did you mean 'process'?" not in process.stderr.readline():
        """It has not come to the error yet."""
    (folder / "bad.yaml").write_text(GOOD)
    assert process.stdout.readline() == "bad.yaml: ok, 1 step\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.communicate()
