"""What is imported when: quick answers don't wait for Dagster."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import flowtoy_dagster

ROOT = Path(__file__).parent.parent
HEAVY = ("dagster", "dagster_webserver", "requests", "starlette", "textual", "uvicorn")

# Runs the command line, then tells which modules were loaded; `argv` comes as JSON.
COMMAND_LINE = """
import json, sys
sys.argv = ["flowtoy", *json.loads(sys.argv[1])]
from flowtoy_dagster.cli import main
try:
    main()
except SystemExit as stop:
    code = stop.code
loaded = sorted({name.partition(".")[0] for name in sys.modules})
sys.stderr.write("\\n" + json.dumps([code, loaded]) + "\\n")
"""


def run_command_line(arguments: Sequence[str], folder: Path) -> tuple[int, set[str]]:
    """The exit code of a command, and the packages that were loaded by its end."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND_LINE, json.dumps(arguments)],
        capture_output=True, text=True, cwd=folder, check=True,
    )
    code, loaded = json.loads(done.stderr.splitlines()[-1])
    return code, set(loaded)


def loaded_after(code: str) -> set[str]:
    """The top-level packages that a program has loaded."""
    program = f"{code}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["run", "--help"], 0),
        ([], 2),
        (["run"], 2),
        (["run", "--no-such-option"], 2),
        (["run", "absent.yaml"], 2),
        (["run", "wrong.yaml"], 2),
        (["run", "wrong.yaml", "--env-file", "absent.env"], 2),
        (["run", "choice.yaml", "--param", "size=ten"], 2),
        (["validate", "wrong.yaml"], 2),
        (["validate", "choice.yaml"], 0),
        (["plan", "choice.yaml"], 0),
        (["graph", "choice.yaml"], 0),
        (["init", "new"], 0),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else str(value),
)
def test_a_quick_answer_does_not_import_dagster(
    arguments: list[str], code: int, tmp_path: Path
) -> None:
    # The mistake is one that only the whole check of a configuration finds.
    flow = "flow: [{name: a, source: {type: rest, url: http://localhost}, depends_on: b}]"
    (tmp_path / "wrong.yaml").write_text(flow)
    (tmp_path / "choice.yaml").write_text("params: {size: 1}\nflow: [{name: a, source: env}]")
    ended, loaded = run_command_line(arguments, tmp_path)
    assert ended == code
    assert not loaded & set(HEAVY)


def test_checking_a_flow_reads_the_metadata_of_no_package(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text("flow: [{name: a, source: process, input: {command: x}}]")
    ended, loaded = run_command_line(["validate", "flow.yaml"], tmp_path)
    assert ended == 0
    assert "pydantic" in loaded
    assert "email" not in loaded  # a module that reads metadata imports it


def test_plugins_are_left_out_of_the_parsers_models_alone() -> None:
    code = """
import os, sys
from flowtoy_dagster.engine.executors.warm.loading.plugins import without_search
with without_search():
    from pydantic import TypeAdapter
    assert TypeAdapter(int).validate_python("1") == 1
assert "email" not in sys.modules and "PYDANTIC_DISABLE_PLUGINS" not in os.environ
import importlib.metadata
importlib.metadata.entry_points = lambda **group: print(group) or ()
TypeAdapter(int)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{'group': 'pydantic'}\n", "")


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        pytest.param("import flowtoy_dagster", {*HEAVY, "typer", "pydantic", "yaml"}, id="root"),
        pytest.param("import flowtoy_dagster.loader", {*HEAVY, "typer"}, id="load"),
        pytest.param(
            "from flowtoy_dagster import ConfigError, load_flow\n"
            "load_flow({'flow': [{'name': 'a', 'source': {'type': 'rest', 'url': 'http://x'}}]})",
            {*HEAVY, "typer"},
            id="load_flow",
        ),
        pytest.param("import flowtoy_dagster.steps.attempts", {*HEAVY, "typer"}, id="steps"),
        pytest.param("import flowtoy_dagster.cli", {*HEAVY, "typer", "pydantic"}, id="cli"),
        pytest.param("import flowtoy_dagster.store.records", {*HEAVY, "typer"}, id="records"),
    ],
)
def test_importing_a_part_does_not_import_what_it_has_no_need_of(
    code: str, unwanted: set[str]
) -> None:
    assert not loaded_after(code) & unwanted


@pytest.mark.parametrize("name", flowtoy_dagster.__all__)
def test_each_public_name_resolves(name: str) -> None:
    assert getattr(flowtoy_dagster, name) is not None


def test_all_is_what_is_there() -> None:
    homes: dict[str, Any] = flowtoy_dagster._HOMES
    assert sorted(flowtoy_dagster.__all__) == sorted([*homes, "__version__"])
    assert set(flowtoy_dagster.__all__) <= set(dir(flowtoy_dagster))
    for name, home in homes.items():
        module = importlib.import_module(f"flowtoy_dagster.{home}")
        assert getattr(flowtoy_dagster, name) is getattr(module, name)


def test_type_checkers_see_the_names_that_are_public() -> None:
    text = Path(flowtoy_dagster.__file__).read_text(encoding="utf-8")
    block = text.partition("if TYPE_CHECKING:\n")[2].partition("\n__version__")[0]
    seen = {line.rpartition(" as ")[2] for line in block.splitlines() if " as " in line}
    assert seen == set(flowtoy_dagster._HOMES)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode_flow'"):
        flowtoy_dagster.lode_flow  # noqa: B018


@pytest.mark.parametrize(
    ("old", "name", "now"),
    [
        ("engine.storage", "WarmStorage", "engine.storage.sqlite"),
        ("engine.compute_logs", "DirectComputeLogManager", "engine.storage.logs.compute_logs"),
        ("engine.postgres", "WarmPostgresStorage", "engine.storage.postgres"),
    ],
)
def test_the_addresses_in_the_settings_of_older_homes_lead_to_the_same_classes(
    old: str, name: str, now: str
) -> None:
    if "postgres" in old:
        pytest.importorskip("dagster_postgres", reason="the extra [postgres] is not installed")
    before = importlib.import_module(f"flowtoy_dagster.{old}")
    moved = importlib.import_module(f"flowtoy_dagster.{now}")
    assert getattr(before, name) is getattr(moved, name)


@pytest.mark.parametrize("name", ["Provider", "ProviderResult", "BuiltinProvider"])
def test_packages_of_others_find_the_protocol_at_its_address(name: str) -> None:
    base = importlib.import_module("flowtoy_dagster.providers.base")
    assert getattr(base, name) is not None


def test_imports_point_one_way() -> None:
    lint = shutil.which("lint-imports", path=Path(sys.executable).parent) or shutil.which(
        "lint-imports"
    )
    assert lint is not None, "import-linter is one of the dev extras"
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
