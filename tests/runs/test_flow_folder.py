"""Where a flow is: `flow.dir`, and relative paths that start there (`runner.cwd: flow`)."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import ConfigError, FlowRun, build_definitions, load_flow, run_flow
from flowtoy_dagster.loader import with_executor
from flowtoy_dagster.plan.conditions import outlooks
from flowtoy_dagster.providers.rest.bodies.local_files import below
from flowtoy_dagster.providers.rest.provider import RestConfiguration
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry, retry_run
from flowtoy_dagster.testing import run as tested_runs
from flowtoy_dagster.testing.single import Before, try_step

FLOW = """\
name: placed
runner: {cwd: flow}
sources:
  tool: {type: process, command: [./tool.sh, "{{ flow.dir }}"]}
flow:
  - name: tool
    source: tool
    output:
      - {name: text, value: stdout}
      - {name: kept, type: file, format: raw, path: "out/tool.txt"}
  - name: within
    source: {type: process, command: [pwd], cwd: inner}
    output: [{name: text, value: stdout}]
  - name: each
    for_each: [1, 2]
    source: {type: process, command: [sh, -c, "pwd; cat data.txt"]}
    output: [{name: text, value: stdout}]
  - name: sent
    source: rest
    input: {url: "{{ env.API }}", method: POST, body: {file: data.txt}}
    output: [{name: text, type: raw}]
  - name: read
    when: flow.dir is defined
    source: {type: process, command: [cat, "{{ flows.tool.kept.path }}"]}
    output: [{name: text, value: stdout}]
"""


@pytest.fixture
def placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[..., str]) -> Path:
    """A flow in a folder that is not the working directory."""
    folder = tmp_path / "place of flows"
    (folder / "inner").mkdir(parents=True)
    (folder / "data.txt").write_text("the data\n")
    (folder / "tool.sh").write_text('#!/bin/sh\necho "$1"; pwd\n')
    (folder / "tool.sh").chmod(0o755)
    (folder / "placed.yaml").write_text(FLOW)
    monkeypatch.setenv("API", serve(lambda asked: (200, {}, asked.body)))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return folder


def expected(folder: Path) -> dict[str, Any]:
    return {
        "tool": f"{folder}\n{folder}\n", "within": f"{folder}/inner\n",
        "each": [f"{folder}\nthe data\n"] * 2, "sent": "the data\n",
        "read": f"{folder}\n{folder}\n",
    }


def texts(run: FlowRun) -> dict[str, Any]:
    assert run.success, [step.error for step in run.status.steps.values()]
    return {name: outputs["text"] for name, outputs in run.outputs.items() if outputs}


@pytest.mark.usefixtures("made_home")
@pytest.mark.parametrize("executor", ["warm", "multiprocess", "in_process"])
def test_relative_paths_start_from_the_folder_of_the_flow(placed: Path, executor: str) -> None:
    # language 6.3, 10.4, 10.6
    here, all_steps = Path.cwd(), expected(placed)
    if executor == "multiprocess":  # a second for each step
        (placed / "placed.yaml").write_text(FLOW.partition("  - name: each")[0])
    run = run_flow(with_executor(load_flow("../place of flows/placed.yaml"), executor))
    assert texts(run) == {name: all_steps[name] for name in run.outputs}
    assert (placed / "out" / "tool.txt").exists()
    assert Path.cwd() == here
    assert list(here.iterdir()) == []


def test_steps_by_themselves_and_tests_of_flows_start_there_too(placed: Path) -> None:
    flow = load_flow(placed / "placed.yaml")
    found = {
        name: try_step(flow, flow.step(name), Before()).outputs["text"]
        for name in ("tool", "within", "each", "sent")
    }
    assert {**found, "read": found["tool"]} == expected(placed)
    tested = tested_runs.FlowRun(flow).carry_out()
    assert {name: ended.outputs["text"] for name, ended in tested.steps.items()} == expected(placed)
    assert outlooks(flow, flow.steps)["read"].fate == "runs"


@pytest.mark.usefixtures("made_home")
def test_a_job_of_a_deployment_starts_there(placed: Path) -> None:
    definitions = build_definitions([placed])
    result = definitions.get_repository_def().get_job("placed").execute_in_process()
    assert result.success
    assert (placed / "out" / "tool.txt").exists()


@pytest.mark.usefixtures("made_home")
def test_a_retry_starts_where_the_flow_was(
    placed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = placed / "data.txt"
    content = data.read_text()
    data.unlink()
    flow = with_executor(load_flow("../place of flows/placed.yaml"), "in_process")
    assert not run_flow(flow).success
    data.write_text(content)
    monkeypatch.chdir(tmp_path)
    with History() as history:
        run = retry_run(history, plan_retry(history, history.find("last")), 1)
        assert texts(run) == expected(placed)


@pytest.mark.usefixtures("made_home")
@pytest.mark.parametrize(
    "keys", ["runner: {cwd: flow}", "params: {p: {default: x}}"], ids=["cwd", "dir"]
)
def test_a_folder_that_is_not_on_this_machine_fails_the_step_before_its_call(
    keys: str, tmp_path: Path
) -> None:
    # language 10.6
    folder = tmp_path / "gone"
    folder.mkdir()
    (folder / "f.yaml").write_text(f"""\
name: gone
{keys}
flow:
  - name: a
    source: {{type: process, command: [touch, "{tmp_path}/called", "{{{{ flow.dir }}}}"]}}
""")
    flow = load_flow(folder / "f.yaml")
    (folder / "f.yaml").unlink()
    folder.rmdir()
    outcome = try_step(flow, flow.step("a"), Before())
    assert outcome.error is not None
    assert (
        f"the flow's folder '{folder}' can't be used on {socket.gethostname()}: no such file or "
        "directory; 'runner.cwd: flow' and 'flow.dir' need it under the same path on each machine "
        "that runs steps"
    ) in outcome.error
    assert not (tmp_path / "called").exists()


@pytest.mark.usefixtures("made_home")
def test_a_replay_has_the_folder_of_the_recorded_run(tmp_path: Path) -> None:
    text = """\
name: replayed
runner: {executor: in_process, cwd: flow}
flow:
  - {name: a, source: {type: process, command: [echo, "{{ flow.dir }}"]},
     output: [{name: text, value: stdout}]}
"""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f.yaml").write_text(text)
    recorded = run_flow(tmp_path / "one" / "f.yaml", record=tmp_path / "recording")
    (tmp_path / "one" / "f.yaml").rename(tmp_path / "f.yaml")
    (tmp_path / "one").rmdir()
    replayed = run_flow(tmp_path / "two" / "f.yaml", replay=tmp_path / "recording")
    assert replayed.success, replayed.unrecorded
    assert texts(replayed) == texts(recorded) == {"a": f"{tmp_path}/one\n"}


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ("runner: {cwd: flow}", True),
        ("runner: {cwd: started}", False),
        ("x-note: 'the flow. Nothing of its folder'", False),
        ("sources: {s: {type: env, vars: ['{{ flow.dir }}']}}", True),
        ("sources: {s: {type: env, vars: ['{{ flows.a.x }} flow.dir']}}", False),
        ("sources: {s: {type: env, vars: ['{% set f = flow %}{{ f.dir }}']}}", True),
    ],
)
def test_the_folder_is_kept_where_the_flow_depends_on_it(
    text: str, is_kept: bool, tmp_path: Path
) -> None:
    steps = "flow: [{name: a, source: {type: env, vars: [A]}, output: [{name: x}]}]"
    (tmp_path / "f.yaml").write_text(f"{text}\n{steps}\n")
    assert load_flow(tmp_path / "f.yaml").folder == (str(tmp_path) if is_kept else None)


def test_the_folder_is_that_of_the_first_file_or_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = "runner: {cwd: flow}\nflow: [{name: a, source: env}]\n"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f.yaml").write_text(steps)
    monkeypatch.chdir(tmp_path / "two")
    assert load_flow(["../one/f.yaml", "f.yaml"]).folder == str(tmp_path / "one")
    mapping = {"runner": {"cwd": "flow"}, "flow": [{"name": "a", "source": "env"}]}
    assert load_flow(mapping).folder == str(tmp_path / "two")
    with (tmp_path / "one" / "f.yaml").open() as file, monkeypatch.context() as patch:
        patch.setattr("sys.stdin", file)
        assert load_flow("-").folder == str(tmp_path / "two")


def test_a_folder_whose_name_is_no_text_is_an_error(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(folder)
    path = os.fsdecode(folder + b"/f.yaml")
    Path(path).write_text("runner: {cwd: flow}\nflow: [{name: a, source: env}]\n")
    with pytest.raises(ConfigError, match="the name of the flow's folder is not UTF-8"):
        load_flow(path)


def test_files_of_certificates_are_looked_for_in_the_folder(tmp_path: Path) -> None:
    settings = RestConfiguration(url="https://x", verify="ca.pem", cert=("a.pem", "/b.pem"))
    found = below(settings, tmp_path)
    assert (found.verify, found.cert) == (f"{tmp_path}/ca.pem", (f"{tmp_path}/a.pem", "/b.pem"))
    assert below(RestConfiguration(url="https://x"), tmp_path).verify is True
