"""Where in the flow's files a step failed, for whoever looks at the run later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from shown_runs import run_with_lines

from flowtoy_dagster import load_flow, run_flow
from flowtoy_dagster.cli import runs as commands
from flowtoy_dagster.deployment.discovery import flows_in
from flowtoy_dagster.deployment.location import FlowLocation, JobMaker
from flowtoy_dagster.engine.tags import CONFIG_TAG
from flowtoy_dagster.errors import Location
from flowtoy_dagster.flow.files.loading import NO_FILE, read_files
from flowtoy_dagster.flow.files.nodes import KeyPath, Mark, Node
from flowtoy_dagster.flow.files.saved_places import located, packed
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.prune import prune_runs
from flowtoy_dagster.runs.status.status_document import SCHEMA, read_status, status_document
from flowtoy_dagster.tui.texts import state_text

FLOW = """\
runner: {executor: in_process}
sources: {api: {type: rest, url: "{{ env.NOT_SET_ANYWHERE }}"}}
flow:
  - name: listed
    on_error: continue
    source: {type: process, command: [ls, /none]}
  - {name: asked, source: api, on_error: continue}
  - {name: fine, source: {type: process, command: ["true"]}}
"""
NOWHERE = Mark(Location(NO_FILE, 0, 0), 0)


@pytest.mark.usefixtures("made_home")
def test_a_failure_has_its_place_wherever_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(FLOW)
    monkeypatch.chdir(tmp_path)
    flow = load_flow("shop.yaml")
    done, told = run_with_lines(flow)
    assert [line for line in told if "place" in line] == [
        "    place:  shop.yaml:4:5", "    place:  shop.yaml:2:34",
    ]
    file.unlink()
    with History() as history:
        status = history.status(history.find(done.run_id))
    places = {name: step.place for name, step in status.steps.items()}
    assert places == {"listed": f"{file}:4:5", "asked": f"{file}:2:34", "fine": None}
    document: Any = json.loads(json.dumps(status_document(status)))
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert {name: step["place"] for name, step in document["steps"].items()} == places
    assert read_status(document).steps["listed"].place == places["listed"]
    assert "place     shop.yaml:4:5" in state_text(status.steps["listed"], status).plain
    commands.show_run(done.run_id)
    printed = capsys.readouterr().out
    assert "listed, place: shop.yaml:4:5\n" in printed
    assert "asked, place: shop.yaml:2:34\n" in printed


@pytest.mark.usefixtures("made_home")
def test_a_flow_from_no_file_has_no_places() -> None:
    flow = {"runner": {"executor": "in_process"}, "flow": [
        {"name": "a", "source": {"type": "process", "command": ["false"]}}
    ]}
    done = run_flow(flow)
    assert done.status.steps["a"].place is None
    with History() as history:
        assert history.status(history.find(done.run_id)).steps["a"].place is None


@pytest.mark.usefixtures("made_home")
def test_a_code_location_keeps_the_places_of_its_flows(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(FLOW)
    location = FlowLocation("here", lambda: flows_in([tmp_path]), JobMaker())
    job = location.definitions().get_repository_def().get_job("shop")
    with History() as history:
        saved = history.configs.read(job.tags[CONFIG_TAG], with_places=True)
        assert saved is not None
        assert saved.places["files"] == [str(tmp_path / "shop.yaml")]
        prune_runs(history, 0)
        assert history.configs.read(job.tags[CONFIG_TAG], with_places=True) == saved


def leaves(node: Node, path: KeyPath = ()) -> dict[KeyPath, str]:
    if isinstance(node.value, dict):
        inner: Any = node.value.items()
    elif isinstance(node.value, list):
        inner = enumerate(node.value)
    else:
        return {path: str(node.mark.location)}
    found: dict[KeyPath, str] = {}
    for part, child in inner:
        found |= leaves(child, (*path, part))
    return found


def test_places_are_kept_of_all_files_that_were_merged(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(FLOW)
    second.write_text("sources: {api: {timeout: 3}}\nrunner: {max_workers: 2}\n")
    root = read_files([first, second]).root
    found = located(root.plain(), json.loads(json.dumps(packed(root))), NOWHERE)
    assert found.plain() == root.plain()
    kept = {path: at for path, at in leaves(root).items() if path[0] != "runner"}
    assert {path: at for path, at in leaves(found).items() if path[0] != "runner"} == kept
    assert kept["sources", "api", "timeout"] == f"{second}:1:26"


@pytest.mark.parametrize(
    "saved",
    [None, [], {}, {"files": 1}, {"files": ["f"], "places": []},
     {"files": ["f"], "places": {"flow": [0, 1, 2, {"a": 1}], "sources": [3, 1, 1]}},
     {"files": ["f"], "places": {"flow": [0, 1, 2, [[0, 1], None, "x"]]}}],
)
def test_places_that_do_not_fit_are_passed_over(saved: Any) -> None:
    config = {"flow": [{"name": "a"}, {"name": "b"}], "sources": {"x": 1}}
    assert located(config, saved, NOWHERE).plain() == config
