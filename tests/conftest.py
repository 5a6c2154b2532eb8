"""What every test gets: a clean environment, a home of its own, and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
_FOREIGN = ("DAGSTER_", "FLOWTOY_", "RUNNER_STATUS_URL", "NO_COLOR", "FORCE_COLOR")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any) -> Path:
    """No variables of the developer's, and a home folder for this test alone."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN):
            monkeypatch.delenv(name)
    home: Path = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("FLOWTOY_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "100")
    return home


@pytest.fixture
def home(clean_environment: Path) -> Path:
    """The home folder of this test."""
    return clean_environment


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What stdout holds, parsed."""
        return json.loads(self.stdout)


@pytest.fixture
def flowtoy(tmp_path: Path) -> Callable[..., Finished]:
    """Runs the command line in a process of its own, in the test's folder."""

    def run(
        *arguments: str | Path,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 100,
    ) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "flowtoy_dagster", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            timeout=timeout,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a YAML file into the test's folder."""

    def make(text: str, name: str = "flow.yaml") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return make
