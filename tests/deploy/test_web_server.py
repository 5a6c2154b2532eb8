"""A team's web server: what it lists, what becomes of a run, and of a file that is edited."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from team_dagster import EXAMPLES, Deployment, serving

from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry

# A server, and a process or more for each of the runs.
pytestmark = pytest.mark.timeout(600)
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
  - {{name: halts, source: process, input: {{command: [test, -e, "{folder}/fixed"]}},
     depends_on: made}}
  - {{name: later, source: {{type: sample, size: 3}}, input: "{{{{ flows.made.at }}}}",
     depends_on: halts, output: [{{name: at, value: payload}}]}}
  - {{name: last, source: process, input: {{command: [echo, {word}]}}, depends_on: later,
     output: [{{name: said, value: stdout}}]}}
runner: {{executor: in_process}}
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
    for executor in EXECUTORS:
        text = EDITED.format(folder=folder, word="before", executor=executor)
        (flows / f"edited_{executor}.yaml").write_text(text)
    (flows / "failing.yaml").write_text(FAILING.format(folder=folder, word="before"))
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


def outputs(team: Deployment, run_id: str) -> dict[str, Any]:
    """`{step: outputs}` of a run, as flowtoy has it."""
    with History(team.home) as history:
        run = history.find(run_id)
        records = history.records(run, history.status(run))
        return {name: record and record.outputs for name, record in records}


def test_flows_are_jobs_whose_runs_are_flowtoys_too(team: Deployment) -> None:
    jobs = team.jobs()
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} <= set(jobs)
    assert {"broken", "flow_config", "my_flow"} <= set(jobs)
    assert {"key": "flowtoy/broken", "value": "true"} in jobs["broken"]["tags"]
    assert "broken.yaml:1:26: there is no source 'proces'" in jobs["broken"]["description"]

    run_id = team.launch("hello")
    run = team.ended(run_id)
    assert (run["status"], run["steps"]) == ("SUCCESS", {"say_hello": "SUCCESS"})
    assert run["tags"]["flowtoy/flow"] == "hello"
    shown = team.flowtoy("runs", "show", run_id[:8])
    assert shown.returncode == 0, shown.stderr
    assert "say_hello  succeeded" in shown.stdout
    assert outputs(team, run_id) == {"say_hello": {"greeting": "Hello from flowtoy\n"}}


def test_a_job_is_launched_from_its_launchpad_with_a_parameter(
    team: Deployment, browser: Any
) -> None:
    # language 15.5
    address = team.url.removesuffix("/graphql")
    # The list shows no more jobs than there is room for.
    page = browser.new_context(viewport={"width": 1400, "height": 2800}).new_page()
    page.goto(f"{address}/jobs")
    for example in EXAMPLES.glob("*.yaml"):
        page.get_by_text(example.stem, exact=True).first.wait_for()
    page.goto(f"{address}/locations/flowtoy_dagster.definitions/jobs/report/playground")
    page.locator(".CodeMirror").first.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("resources: {params: {config: {region: us}}}")
    page.get_by_role("button", name="Launch Run").click()
    page.wait_for_url("**/runs/*")
    run_id = page.url.rpartition("/")[2]
    page.close()
    assert team.ended(run_id)["status"] == "SUCCESS"
    assert outputs(team, run_id) == {"write_report": {"report": "Orders in us\n"}}


def test_a_file_that_is_edited_does_not_change_runs_that_go_on(team: Deployment) -> None:
    # runtime 5
    running = [team.launch(f"edited_{executor}") for executor in EXECUTORS]
    for run_id in running:
        team.until(run_id, lambda run: run["steps"].get("first") == "IN_PROGRESS")
    for executor in EXECUTORS:
        text = EDITED.format(folder=team.folder, word="after", executor=executor)
        (team.flows / f"edited_{executor}.yaml").write_text(text + "description: edited\n")
    (team.flows / "new.yaml").write_text("flow: [{name: a, source: env}]")
    team.reload()
    jobs = team.jobs()
    assert "new" in jobs
    assert jobs["edited_warm"]["description"] == "edited"
    (team.folder / "go").touch()
    for run_id in running:
        assert team.ended(run_id)["status"] == "SUCCESS"
        assert outputs(team, run_id)["second"] == {"said": "before\n"}


def test_re_execution_from_failure_does_what_flowtoy_retry_does(team: Deployment) -> None:
    # runtime 11
    failed_id = team.launch("failing")
    failed = team.ended(failed_id)
    assert failed["status"] == "FAILURE"
    assert failed["steps"]["later"] == failed["steps"]["last"] == "SKIPPED"
    (team.folder / "fixed").touch()
    again_id = team.retry(failed_id)
    again = team.ended(again_id)
    assert (again["status"], set(again["steps"])) == ("SUCCESS", {"halts", "later", "last"})
    made = outputs(team, failed_id)["made"]
    assert outputs(team, again_id) == {
        "made": made, "tolerated": None, "after tolerated": None, "halts": {},
        "later": made, "last": {"said": "before\n"},
    }
    with History(team.home) as history:
        failed_run = history.find(failed_id)
        planned = plan_retry(history, failed_run, flow=history.flow(failed_run))
    # For Dagster, a step whose failure is tolerated has succeeded, and what it skips has ended.
    assert set(planned.reasons) - set(again["steps"]) == {"tolerated", "after tolerated"}

    # An edited flow: Dagster runs what the location holds, and copies the tags of before.
    text = FAILING.format(folder=team.folder, word="after")
    (team.flows / "failing.yaml").write_text(text)
    team.reload()
    edited_id = team.retry(failed_id)
    assert team.ended(edited_id)["status"] == "SUCCESS"
    assert outputs(team, edited_id)["last"] == {"said": "after\n"}
    with History(team.home) as history:
        ran = history.flow(history.find(edited_id)).step("last")
    assert ran.source.configuration["command"] == ["echo", "after"]
