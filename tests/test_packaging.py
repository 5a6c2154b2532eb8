"""What the project says of itself, and what an installation of it has."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution, entry_points
from pathlib import Path
from typing import Any

import pytest

import flowtoy_dagster

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The `project` table of pyproject.toml."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def test_the_version_is_the_same_everywhere(project: dict[str, Any]) -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert project["version"] == flowtoy_dagster.__version__
    assert distribution("flowtoy-dagster").version == flowtoy_dagster.__version__
    assert f"## {flowtoy_dagster.__version__}" in changes


def test_the_files_that_the_project_names_are_there(project: dict[str, Any]) -> None:
    for name in (project["readme"], *project["license-files"]):
        assert (ROOT / name).stat().st_size > 0


def test_the_license_is_the_one_that_is_declared(project: dict[str, Any]) -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert project["license"] == "BSD-3-Clause"
    assert text.startswith("BSD 3-Clause License\n")
    assert project["authors"][0]["name"] in text


@pytest.mark.parametrize("name", ["flowtoy", "flowtoy-dagster"])
def test_each_command_is_installed_and_answers(name: str) -> None:
    command = Path(sys.executable).parent / name
    done = subprocess.run([command, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"flowtoy-dagster {flowtoy_dagster.__version__}\n"


def test_the_module_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flowtoy_dagster", "--version"], capture_output=True, text=True
    )
    assert done.stdout == f"flowtoy-dagster {flowtoy_dagster.__version__}\n"


def test_the_built_in_providers_are_entry_points_too() -> None:
    found = {point.name: point for point in entry_points(group="flowtoy.providers")}
    for name in ("env", "process", "rest"):
        assert found[name].load().type_name == name


def test_dagsters_version_has_an_upper_bound(project: dict[str, Any]) -> None:
    """Private modules of Dagster are used, so a new minor version must not come by itself."""
    for name in ("dagster", "dagster-webserver"):
        assert f"{name}>=1.13,<1.14" in project["dependencies"]


def test_the_types_are_published() -> None:
    assert (Path(flowtoy_dagster.__file__).parent / "py.typed").is_file()
