"""What the project says of itself, and what an installation of it has."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution, entry_points
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import flowtoy_dagster
from flowtoy_dagster.engine.executors.kinds import EXECUTORS
from flowtoy_dagster.entry_points import Kinds
from flowtoy_dagster.outputs.kinds import OUTPUTS
from flowtoy_dagster.providers.kinds import PROVIDERS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


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


@pytest.mark.parametrize("kinds", [PROVIDERS, OUTPUTS, EXECUTORS], ids=lambda kinds: kinds.group)
def test_the_built_in_kinds_are_entry_points_too(
    kinds: Kinds[Any], project: dict[str, Any]
) -> None:
    """They are listed in the code as well, because reading metadata of packages is slow."""
    assert project["entry-points"][kinds.group] == dict(kinds.builtin)
    installed = {point.name: point for point in entry_points(group=kinds.group)}
    for name in kinds.builtin:
        loaded = installed[name].load()
        assert type(kinds[name]) is loaded
        assert kinds[name].name == name


def test_dagsters_version_has_an_upper_bound(project: dict[str, Any]) -> None:
    """Private modules of Dagster are used, so a new minor version must not come by itself."""
    found = {Requirement(text).name: Requirement(text) for text in project["dependencies"]}
    for name in ("dagster", "dagster-webserver"):
        assert "<1.14" in str(found[name].specifier)
        assert found[name].specifier.contains("1.13.27")


def all_requirements(project: dict[str, Any]) -> Iterator[Requirement]:
    """What the project and its extras need, without the project itself."""
    extras = project["optional-dependencies"].values()
    for text in chain(project["dependencies"], *extras):
        requirement = Requirement(text)
        if requirement.name != project["name"]:
            yield requirement


def marks_of(python: str, platform: str) -> dict[str, str]:
    """What markers of requirements see."""
    return {"python_version": python, "python_full_version": f"{python}.1",
            "sys_platform": platform, "implementation_name": "cpython",
            "platform_python_implementation": "CPython"}


def locked_for(python: str, platform: str) -> dict[str, str]:
    """The versions that the lock file names for a Python and a system."""
    marks = marks_of(python, platform)
    found: dict[str, str] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(marks):
                (pin,) = requirement.specifier
                assert pin.operator == "=="
                assert canonicalize_name(requirement.name) not in found, line
                found[canonicalize_name(requirement.name)] = pin.version
    return found


@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_file_has_what_the_project_needs(
    python: str, platform: str, project: dict[str, Any]
) -> None:
    locked = locked_for(python, platform)
    for requirement in all_requirements(project):
        if requirement.marker and not requirement.marker.evaluate(marks_of(python, platform)):
            assert requirement.name == "zensical", "only what is for developers may be left out"
            continue
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement}; docs/how-to/develop.md says how to renew it"
        assert requirement.specifier.contains(version), f"{requirement}, but {version} is locked"


def test_the_lock_file_names_all_that_the_project_needs_indirectly() -> None:
    """A package that is missing in it would come in whatever version is the newest."""
    locked = locked_for(f"{sys.version_info[0]}.{sys.version_info[1]}", sys.platform)
    waiting = [("flowtoy-dagster", frozenset({"dev", "postgres", "tui"}))]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for text in distribution(name).requires or []:
            needed = Requirement(text)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in {"", *extras}):
                needed_name = canonicalize_name(needed.name)
                if needed_name != "flowtoy-dagster":
                    assert needed_name in locked, f"{name} needs {needed}"
                    waiting.append((needed_name, frozenset(needed.extras)))


def test_each_requirement_has_a_lower_bound(project: dict[str, Any]) -> None:
    """Without one, a tool that looks for the lowest versions finds those of ten years ago."""
    for requirement in all_requirements(project):
        assert any(part.operator == ">=" for part in requirement.specifier), str(requirement)


def test_the_types_are_published() -> None:
    assert (Path(flowtoy_dagster.__file__).parent / "py.typed").is_file()


def test_pip_installs_the_locked_versions_in_the_commands_that_are_documented() -> None:
    for page in ("README.md", "docs/how-to/develop.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        installs = re.findall(r"pip install [^\n&]*-e [^\n&]*", text)
        assert installs
        assert all("-c requirements.lock" in command for command in installs), installs


def test_the_documented_command_is_the_one_that_makes_the_lock_file() -> None:
    page = (ROOT / "docs/how-to/develop.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^\.venv/bin/(uv pip compile .*)$", page, re.MULTILINE)
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    wanted = {word for word in command.split() if word not in ("--upgrade", "--quiet")}
    assert set(lock.splitlines()[1].lstrip("# ").split()) == wanted
