"""A flow as a component of a `dg` project."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from flowtoy_dagster import FlowtoyFlowComponent
from flowtoy_dagster.errors import ConfigError

# Dagster's own, where it loads a component.
pytestmark = pytest.mark.filterwarnings("ignore:Class .* is currently in beta")
FLOW = "flow: [{name: fetch, source: process, input: {command: [echo, '{{ run.name }}']}}]"
TYPE = "flowtoy_dagster.FlowtoyFlowComponent"
PROJECT = """
[project]
name = "shop"
version = "1"
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "shop"
"""
DEFINITIONS = """
from pathlib import Path

import dagster as dg


@dg.definitions
def defs():
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


@pytest.fixture
def component(tmp_path: Path) -> Iterator[Callable[..., dg.Definitions]]:
    """Builds the definitions of a component in the folder `team/hello` of a project."""
    with create_defs_folder_sandbox() as sandbox, ExitStack() as stack:

        def build(attributes: dict[str, Any], **files: str) -> dg.Definitions:
            path = sandbox.scaffold_component(
                component_cls=FlowtoyFlowComponent,
                defs_path="team/hello",
                defs_yaml_contents={"type": TYPE, "attributes": attributes},
            )
            for name, text in files.items():
                (path / f"{name}.yaml").write_text(text, encoding="utf-8")
            return stack.enter_context(sandbox.build_all_defs())

        yield build


def test_a_component_is_a_job_that_is_named_for_its_place(
    component: Callable[..., dg.Definitions],
) -> None:
    defs = component({"flow": "flow.yaml", "max_workers": 3, "tags": {"team": "blue"}}, flow=FLOW)
    job = defs.resolve_job_def("team__hello")
    assert job.run_tags["team"] == "blue"
    assert job.run_tags["flowtoy/flow"] == "hello"
    execution = job.run_config_schema.config_type.fields["execution"].default_value
    assert execution["config"]["max_concurrent"] == 3


def test_a_component_merges_files_and_may_name_its_job(
    component: Callable[..., dg.Definitions],
) -> None:
    defs = component(
        {"flow": ["a.yaml", "b.yaml"], "job_name": "shop"},
        a=FLOW, b="schedule: {cron: '0 6 * * *'}",
    )
    assert defs.resolve_job_def("shop").run_tags["flowtoy/flow"] == "a"
    assert defs.resolve_schedule_def("shop_schedule").job_name == "shop"


def test_a_component_whose_flow_is_wrong_says_where(
    component: Callable[..., dg.Definitions],
) -> None:
    with pytest.raises(Exception, match=r"Error while building .* team/hello") as raised:
        component({"flow": "flow.yaml"}, flow="flow: [{name: a, source: proces}]")
    error: BaseException | None = raised.value
    while error is not None and not isinstance(error, ConfigError):
        error = error.__cause__
    assert "hello/flow.yaml:1:26: there is no source 'proces'" in str(error)


@pytest.mark.parametrize(
    "attributes",
    [{}, {"flow": "flow.yaml", "workers": 3}, {"flow": "flow.yaml", "max_workers": 0}],
    ids=["no flow", "unknown", "too few workers"],
)
def test_a_component_with_wrong_attributes_is_refused(
    component: Callable[..., dg.Definitions], attributes: dict[str, Any]
) -> None:
    with pytest.raises(Exception, match="Error while loading component team/hello"):
        component(attributes, flow=FLOW)


def test_a_new_component_has_a_flow_to_begin_with() -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(FlowtoyFlowComponent, "hello")
        assert {each.name for each in path.iterdir()} == {"defs.yaml", "flow.yaml"}
        with sandbox.build_all_defs() as defs:
            assert defs.resolve_job_def("hello").run_tags["flowtoy/flow"] == "hello"


@pytest.mark.timeout(600)
def test_dg_checks_lists_and_launches_a_component(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    folder = package / "defs" / "team" / "hello"
    folder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (package / "__init__.py").touch()
    (package / "definitions.py").write_text(DEFINITIONS)
    (folder / "defs.yaml").write_text(f"type: {TYPE}\nattributes: {{flow: flow.yaml}}\n")
    (folder / "flow.yaml").write_text(FLOW)
    told = {
        ("check", "defs"): "All definitions loaded successfully",
        ("list", "defs"): "team__hello",
        ("launch", "--job", "team__hello"): "RUN_SUCCESS",
    }
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "VIRTUAL_ENV": sys.prefix}
    with ExitStack() as stack:
        # All at once: each of them is slow to start.
        running = [
            stack.enter_context(
                subprocess.Popen(
                    [str(Path(sys.executable).parent / "dg"), *words],
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
                    env=environment,
                )
            )
            for words in told
        ]
        for process, expected in zip(running, told.values(), strict=True):
            printed, _ = process.communicate()
            assert process.returncode == 0, printed
            assert expected in printed
