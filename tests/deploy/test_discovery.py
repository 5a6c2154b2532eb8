"""Which files are which flow of a code location."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from dagster._core.definitions.utils import check_valid_name

from flowtoy_dagster.deployment.discovery import flows_here, flows_in

ROOT = Path(__file__).parents[2]


def found(root: Path, *places: str) -> dict[str | None, tuple[str, ...]]:
    """The files of each job, as they are named below a folder."""
    flows = flows_in([root / place for place in places or [""]])
    return {
        flow.job: tuple(path.relative_to(root).as_posix() for path in flow.paths) for flow in flows
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("flow: [{name: a, source: env}]", encoding="utf-8")


def test_each_yaml_file_of_a_folder_is_a_flow_that_is_named_for_its_place(root: Path) -> None:
    make(root, "hello.yaml", "team/load.yml", "team/deep/er.yaml", "notes.txt", "team/x.json")
    assert found(root) == {
        "hello": ("hello.yaml",),
        "team__load": ("team/load.yml",),
        "team__deep__er": ("team/deep/er.yaml",),
    }


@pytest.mark.parametrize(
    ("file", "job"),
    [
        ("config.yaml", "flow_config"),
        ("input.yaml", "flow_input"),
        ("type.yaml", "flow_type"),
        ("class.yaml", "flow_class"),
        ("my flow.yaml", "my_flow"),
        ("été.yaml", "ete"),
        ("日本.yaml", "flow"),
        ("2024-report.yaml", "2024_report"),
        ("a/0_load.yaml", "a__0_load"),
        ("a___0_b.yaml", "a__0_b"),
        ("x/input.yaml", "x__flow_input"),
    ],
)
def test_any_file_name_makes_a_name_that_dagster_accepts(root: Path, file: str, job: str) -> None:
    make(root, file)
    assert found(root) == {job: (file,)}
    assert check_valid_name(job) == job


def test_names_that_come_to_the_same_get_numbers(root: Path) -> None:
    make(root, "my flow.yaml", "my-flow.yaml", "my_flow.yaml", "shop.yaml", "shop/flow.yaml")
    assert set(found(root)) == {"my_flow", "my_flow_2", "my_flow_3", "shop", "shop_2"}


def test_a_file_that_adds_to_the_name_of_another_is_merged_over_it(root: Path) -> None:
    make(root, "a.yaml", "a.20-prod.yaml", "a.10-eu.yaml", "a.b.c.yml", "b.local.yaml", "ab.yaml")
    assert found(root) == {
        "a": ("a.yaml", "a.10-eu.yaml", "a.20-prod.yaml", "a.b.c.yml"),
        "ab": ("ab.yaml",),
        "b_local": ("b.local.yaml",),
    }


def test_flow_yaml_is_named_for_its_folder_and_takes_its_overrides(root: Path) -> None:
    make(root, "shop/flow.yaml", "shop/flow.secrets.yaml", "shop/other.yaml", "a/b/flow.yml")
    assert found(root) == {
        "shop": ("shop/flow.yaml", "shop/flow.secrets.yaml"),
        "shop__other": ("shop/other.yaml",),
        "a__b": ("a/b/flow.yml",),
    }
    (only,) = (flow for flow in flows_in([root]) if flow.job == "shop")
    assert only.name == "shop"
    assert set(found(root, "shop")) == {"shop", "other"}


def test_a_pipe_is_no_flow(root: Path) -> None:
    os.mkfifo(root / "pipe.yaml")
    (root / "gone.yaml").symlink_to("nowhere")
    assert [flow.name for flow in flows_in([root])] == ["gone"]


def test_what_begins_with_a_dot_is_left_alone(root: Path) -> None:
    make(root, ".hidden.yaml", ".git/x.yaml", "a.yaml")
    assert found(root) == {"a": ("a.yaml",)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("workspace.yaml", "load_from:\n  - python_module: flowtoy_dagster.definitions\n"),
        ("dagster.yaml", "telemetry:\n  enabled: false\n"),
        ("defs.yaml", "type: flowtoy_dagster.FlowtoyFlows\nattributes: {flow: x}\n"),
        ("compose.yml", "services:\n  flow:\n    image: x\n"),
        ("docker-compose.yaml", ""),
        ("kustomization.yaml", "resources: [flowtoy.yaml]\n"),
        ("values.yaml", "global: {}\n"),
        ("cluster.yaml", "# Pods\napiVersion: v1\nkind: Namespace\nmetadata: {name: flow}\n"),
        ("a.pods.yaml", "kind: Namespace\napiVersion: v1\n"),
    ],
)
def test_the_settings_of_tools_beside_flows_are_no_flows(
    root: Path, name: str, text: str
) -> None:
    make(root, "a.yaml")
    (root / name).write_text(text)
    assert found(root) == {"a": ("a.yaml",)}


def test_what_a_tool_merges_over_its_settings_is_no_flow(root: Path) -> None:
    make(root, "values.dev.yaml", "dagster/compose.override.yaml", "a.yaml")
    (root / "compose.yaml").write_text("services: {}\n")
    (root / "compose.override.yaml").write_text("services: {}\n")
    assert found(root) == {
        "a": ("a.yaml",), "values_dev": ("values.dev.yaml",),
        "dagster__compose_override": ("dagster/compose.override.yaml",),
    }
    # What has a flow's name is the flow's, whatever it lacks; so it is not lost without a word.
    make(root, "values.yaml")
    (root / "values.prod.yaml").write_text("params: {}\n")
    assert found(root)["values"] == ("values.yaml", "values.dev.yaml", "values.prod.yaml")
    (root / "values.yaml").unlink()
    assert found(root)["values_prod"] == ("values.prod.yaml",)


@pytest.mark.parametrize("name", ["apiVersion", "kind"])
def test_a_broken_flow_is_no_manifest(root: Path, name: str) -> None:
    (root / "a.yaml").write_text(f"{name}: v1\nflows: []\n")
    assert found(root) == {"a": ("a.yaml",)}


@pytest.mark.parametrize("text", ["flow: []\n", "name: x\n\nflow:\n  - {}\n", '{"flow": []}'])
def test_a_flow_may_have_the_name_of_a_tools_file(root: Path, text: str) -> None:
    (root / "workspace.yaml").write_text(text)
    assert found(root) == {"workspace": ("workspace.yaml",)}


def test_a_tools_file_that_is_named_itself_is_read_as_a_flow(root: Path) -> None:
    (root / "workspace.yaml").write_text("load_from: []\n")
    assert found(root, "workspace.yaml") == {"workspace": ("workspace.yaml",)}


def test_places_are_files_and_folders(root: Path) -> None:
    make(root, "one/a.yaml", "two/a.yaml", "two/b.yaml")
    assert found(root, "one", "two/a.yaml") == {"a": ("one/a.yaml",), "a_2": ("two/a.yaml",)}


def test_a_place_that_is_not_there_is_not_passed_over(root: Path) -> None:
    assert found(root, "absent") == {"absent": ("absent",)}


def test_the_environment_says_which_flows(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(root, "one/a.yaml", "b.yaml", "examples/e.yaml")
    path = {"FLOWTOY_PATH": os.pathsep.join([str(root / "one"), "", str(root / "b.yaml")])}
    assert [flow.job for flow in flows_here(path)] == ["a", "b"]
    config = {"FLOWTOY_CONFIG": os.pathsep.join(["x.yaml", "y.yaml"])}
    (merged,) = flows_here({**path, **config})
    assert merged.paths == (Path("x.yaml"), Path("y.yaml"))
    assert (merged.name, merged.job) == ("x", None)
    # The project's own examples come before a folder of that name.
    monkeypatch.chdir(root)
    assert "hello" in [flow.job for flow in flows_here({})]
    found = {path.parent for flow in flows_here({}) for path in flow.paths}
    assert found == {ROOT / "examples", ROOT / "examples" / "cookbook"}


def test_tests_of_flows_are_no_flows_and_no_overrides(root: Path) -> None:
    make(root, "shop.yaml", "shop.prod.yaml", "shop.test.yaml", "other.test.yml")
    assert found(root) == {"shop": ("shop.yaml", "shop.prod.yaml")}
