"""Packages of kinds, installed for one test: no network, no pip, no build backend."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from flowtoy_dagster.engine.executors.kinds import EXECUTORS
from flowtoy_dagster.outputs.kinds import OUTPUTS
from flowtoy_dagster.providers.kinds import PROVIDERS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGES = Path(__file__).parents[1] / "packages"
Groups = Mapping[str, Mapping[str, str]]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, which this process sees while the test runs."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    loaded = [(kinds, dict(kinds._loaded)) for kinds in (PROVIDERS, OUTPUTS, EXECUTORS)]
    for kinds, _ in loaded:
        kinds.__dict__.pop("installed", None)
    yield folder
    for kinds, known in loaded:
        kinds.__dict__.pop("installed", None)
        kinds._loaded.clear()
        kinds._loaded.update(known)
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def register(site: Path) -> Callable[[str, Groups], None]:
    """Writes what an installed package says of itself: its name and its entry points."""

    def write(name: str, groups: Groups) -> None:
        info = site / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = []
        for group, points in groups.items():
            lines += [f"[{group}]", *(f"{point} = {value}" for point, value in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")

    return write


@pytest.fixture
def csv_package(site: Path, register: Callable[[str, Groups], None]) -> Path:
    """The package that the documentation shows, installed; its folder."""
    source = PACKAGES / "flowtoy_csv"
    project = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))["project"]
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source / "flowtoy_csv", site / "flowtoy_csv", ignore=ignored)
    register(project["name"], project["entry-points"])
    return source
