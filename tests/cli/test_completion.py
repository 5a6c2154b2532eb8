"""What shells offer at Tab, by the protocol that their scripts speak."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flowtoy_dagster import run_flow
from flowtoy_dagster.cli.app import make_app

FLOW = """\
name: shop
runner: {executor: in_process}
params:
  day: {type: string, default: today}
  kind: {type: string, enum: [full, new], default: new}
  really: {type: boolean, default: false}
flow:
  - {name: fetch, source: process, input: {command: "true"}}
  - {name: load, source: process, input: {command: "true"}}
"""


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """What bash offers at the end of a line."""
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text(FLOW)
    Path("shop.test.yaml").write_text("x")
    Path("broken.yml").write_text("{")
    Path("flows").mkdir()
    Path("flows/a.yaml").write_text(FLOW.replace("fetch", "other"))
    Path("notes.txt").touch()

    def ask(line: str) -> list[str]:
        words = line.split(" ")
        variables = {"_FLOWTOY_COMPLETE": "complete_bash", "COMP_WORDS": line,
                     "COMP_CWORD": str(len(words) - 1)}
        done = CliRunner().invoke(make_app(), [], prog_name="flowtoy", env=variables)
        assert not done.stderr
        return done.stdout.split()

    return ask


def test_files_steps_and_parameters_are_completed_without_a_home(
    offered: Callable[[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWTOY_HOME", str(tmp_path / ".home"))
    assert offered("flowtoy run ") == ["broken.yml", "flows/", "shop.yaml"]
    assert offered("flowtoy run flows/") == ["flows/a.yaml"]
    assert offered("flowtoy test s") == ["shop.test.yaml", "shop.yaml"]
    assert offered("flowtoy run shop.yaml --param ") == ["day=", "kind=", "really="]
    assert offered("flowtoy run shop.yaml --param kind=") == ["kind=full", "kind=new"]
    assert offered("flowtoy run shop.yaml --param really=t") == ["really=true"]
    assert offered("flowtoy run shop.yaml --only l") == ["load"]
    # What is an error when it is called is no reason to offer nothing.
    assert offered("flowtoy run shop.yaml -o shop.yaml --only l") == ["load"]
    assert offered("flowtoy step ") == ["fetch", "load"]
    assert offered("flowtoy run broken.yml --param ") == []
    assert offered("flowtoy retry ") == ["last", "failed"]
    assert not (tmp_path / ".home").exists()


@pytest.mark.usefixtures("made_home")
def test_runs_and_their_steps_are_completed(offered: Callable[[str], list[str]]) -> None:
    run = run_flow("shop.yaml")
    assert offered("flowtoy runs show ") == ["last", "failed", "last:shop", run.run_id[:8]]
    assert offered(f"flowtoy cancel {run.run_id[:9]}") == [run.run_id]
    assert offered("flowtoy retry last --from f") == ["fetch"]
    assert offered("flowtoy runs logs last ") == ["fetch", "load"]


def test_names_that_a_shell_would_execute_are_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOWTOY_HOME", str(tmp_path / ".home"))
    for name in ("x$(touch y)", "x`touch z`", "x'y", 'x"y', "x\\$(touch y)", "x\nz", "x;y", "xé 1"):
        Path(f"{name}.yaml").write_text(FLOW.replace("fetch", "'x;touch y'").replace("load", "x y"))

    def offered(shell: str, line: str) -> list[str]:
        env = {"_FLOWTOY_COMPLETE": f"complete_{shell}", "COMP_WORDS": line, "COMP_CWORD": "2",
               "_TYPER_COMPLETE_ARGS": line}
        done = CliRunner().invoke(make_app(), [], prog_name="flowtoy", env=env)
        return done.stdout.splitlines()

    assert offered("bash", "flowtoy run x") == ["xé\\ 1.yaml"]
    assert offered("bash", "flowtoy step x") == ["x\\ y"]
    # What this script offers goes through `eval`.
    assert '"xé 1.yaml"' in "".join(offered("zsh", "flowtoy run x"))
    assert not set("$`;") & set("".join(offered("zsh", "flowtoy run x")))
