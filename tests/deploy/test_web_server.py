"""A team's web server: what it lists, what becomes of a run, and of a file that is edited."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from team_dagster import EXAMPLES, Deployment, serving

from flowtoy_dagster.engine.home import open_home

PROVIDERS = Path(__file__).parents[1] / "packages" / "flowtoy_sample"
EXECUTORS = ("warm", "multiprocess", "in_process")
EDITED = """
flow:
  - name: first
    source: process
    # Waits for the file to be edited, and for the location to be loaded anew.
    input: {{command: [sh, -c, "until test -e {folder}/go; do sleep 0.05; done"]}}
  - name: second
    source: process
    depends_on: first
    input: {{command: [echo, {word}]}}
    output: [{{name: said, value: stdout}}]
runner: {{executor: {executor}}}
"""
FAILING = """
flow:
  - {{name: made, source: process, input: {{command: [date, "+%N"]}},
     output: [{{name: at, value: stdout}}]}}
  - {{name: tolerated, source: process, input: {{command: ["false"]}}, on_error: skip}}
  - {{name: after tolerated, source: process, input: {{command: ["true"]}}, depends_on: tolerated}}
  - {{name: halts, source: process, input: {{command: [test, -e, "{folder}/mended"]}},
     depends_on: made}}
  - {{name: later, source: process, input: {{command: [echo, "{{{{ flows.made.at }}}}"]}},
     depends_on: halts, output: [{{name: at, value: stdout}}]}}
  - {{name: last, source: process, input: {{command: ["true"]}}, depends_on: later}}
"""


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, site: Path) -> Iterator[Deployment]:
    """A web server that serves the examples and a folder of flows."""
    folder = tmp_path_factory.mktemp("team")
    flows = folder / "flows"
    flows.mkdir()
    (flows / "broken.yaml").write_text("flow: [{name: a, source: proces}]")
    for name in ("config", "my flow"):
        (flows / f"{name}.yaml").write_text("flow: [{name: say_hello, source: env}]")
    (flows / "third party.yaml").write_text(
        "flow: [{name: a, source: {type: sample, size: 3}, output: [{name: x, value: code}]}]"
    )
    for executor in EXECUTORS:
        text = EDITED.format(folder=folder, word="before", executor=executor)
        (flows / f"edited_{executor}.yaml").write_text(text)
    (flows / "failing.yaml").write_text(FAILING.format(folder=folder))
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    with serving(open_home(folder / "home"), flows, folder, PYTHONPATH=path) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with a package of providers, as an installer would lay it out."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(PROVIDERS / "flowtoy_sample", folder / "flowtoy_sample")
    info = folder / "flowtoy_sample-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flowtoy_sample\nVersion: 1\n")
    lines = (PROVIDERS / "pyproject.toml").read_text().splitlines()
    entry = next(line for line in lines if line.startswith("sample = "))
    (info / "entry_points.txt").write_text(
        f"[flowtoy.providers]\n{entry.replace(chr(34), '')}\n"
    )
    return folder


def outputs(team: Deployment, run_id: str) -> Any:
    """What `flowtoy runs outputs` prints of a run."""
    done = team.flowtoy("runs", "outputs", run_id, "-j")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_flow_is_a_job_and_a_broken_one_tells_why(team: Deployment) -> None:
    jobs = team.jobs()
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} <= set(jobs)
    assert {"broken", "flow_config", "my_flow", "third_party"} <= set(jobs)
    broken = jobs["broken"]
    assert {"key": "flowtoy/broken", "value": "true"} in broken["tags"]
    assert "broken.yaml:1:26: there is no source 'proces'" in broken["description"]


def test_a_run_that_is_launched_there_is_flowtoys_too(team: Deployment) -> None:
    run_id = team.launch("hello")
    run = team.ended(run_id)
    assert (run["status"], run["steps"]) == ("SUCCESS", {"say_hello": "SUCCESS"})
    assert run["tags"]["flowtoy/flow"] == "hello"
    assert outputs(team, run_id) == {"say_hello": {"greeting": "Hello from flowtoy\n"}}
    listed = team.flowtoy("runs")
    assert run_id[:8] in listed.stdout
    shown = team.flowtoy("runs", "show", run_id)
    assert (shown.returncode, "say_hello  succeeded" in shown.stdout) == (0, True), shown


def test_a_provider_of_a_third_party_works_there(team: Deployment) -> None:
    # language 3.2
    run_id = team.launch("third_party")
    assert team.ended(run_id)["status"] == "SUCCESS"
    assert outputs(team, run_id) == {"a": {"x": 7}}


def test_a_file_that_is_edited_changes_later_runs_alone(team: Deployment) -> None:
    # runtime 5
    running = {name: team.launch(f"edited_{name}") for name in EXECUTORS}
    for run_id in running.values():
        team.until(run_id, lambda run: run["steps"].get("first") == "IN_PROGRESS")
    for name in EXECUTORS:
        text = EDITED.format(folder=team.folder, word="after", executor=name)
        (team.flows / f"edited_{name}.yaml").write_text(text + "description: edited\n")
    (team.flows / "new.yaml").write_text("flow: [{name: a, source: env}]")
    team.reload()
    jobs = team.jobs()
    assert "new" in jobs
    assert jobs["edited_warm"]["description"] == "edited"
    (team.folder / "go").touch()
    for run_id in running.values():
        assert team.ended(run_id)["status"] == "SUCCESS"
        assert outputs(team, run_id)["second"] == {"said": "before\n"}
    later = team.launch("edited_warm")
    assert team.ended(later)["status"] == "SUCCESS"
    assert outputs(team, later)["second"] == {"said": "after\n"}


def test_re_execution_from_failure_does_what_flowtoy_retry_does(team: Deployment) -> None:
    # runtime 11, but for steps whose failure is tolerated: for Dagster they have succeeded
    failed_id = team.launch("failing")
    failed = team.ended(failed_id)
    assert failed["status"] == "FAILURE"
    assert failed["steps"]["later"] == failed["steps"]["last"] == "SKIPPED"
    (team.folder / "mended").touch()
    again_id = team.retry(failed_id)
    again = team.ended(again_id)
    assert again["status"] == "SUCCESS"
    retried = team.flowtoy("retry", failed_id, "-j")
    assert retried.returncode == 0, retried.stderr
    own, theirs = json.loads(retried.stdout), outputs(team, again_id)
    assert own["later"]["at"] == theirs["later"]["at"] == own["made"]["at"] + "\n"
    assert own == theirs
    assert set(again["steps"]) == {"halts", "later", "last"}


def test_re_execution_after_an_edit_runs_what_the_file_holds_by_then(team: Deployment) -> None:
    path = team.flows / "mended.yaml"
    path.write_text("flow: [{name: a, source: process, input: {command: ['false']}}]")
    team.reload()
    failed_id = team.launch("mended")
    assert team.ended(failed_id)["status"] == "FAILURE"
    path.write_text(
        "flow: [{name: a, source: process, input: {command: [echo, mended]}, "
        "output: [{name: said, value: stdout}]}]"
    )
    team.reload()
    again_id = team.retry(failed_id)
    assert team.ended(again_id)["status"] == "SUCCESS"
    # flowtoy goes by what ran, though Dagster has copied the tags of the run before.
    assert outputs(team, again_id) == {"a": {"said": "mended\n"}}
