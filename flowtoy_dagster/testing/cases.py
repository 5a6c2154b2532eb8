"""Runs one test, and says what came of it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flowtoy_dagster.testing.environment import TestEnvironment
from flowtoy_dagster.testing.expectations import Mismatch, compare
from flowtoy_dagster.testing.files import Case
from flowtoy_dagster.testing.mocks import Mocks
from flowtoy_dagster.testing.run import FlowRun, Places

FILES = "files"
"""What stands for the folder of a run's own files in its outputs."""


@dataclass(frozen=True)
class Verdict:
    """What came of a test.

    Attributes:
        mismatches: all that is not as it expects.
        seconds: how long it took.
        run: the run.
    """

    case: Case
    mismatches: list[Mismatch]
    seconds: float
    run: FlowRun

    @property
    def passed(self) -> bool:
        """Whether everything is as expected."""
        return not self.mismatches


def run_case(case: Case) -> Verdict:
    """Run a test."""
    began = time.perf_counter()
    environment = TestEnvironment(case.config.env)
    mocks = Mocks(case.flow, case.mocks, frozenset(case.config.real), environment)
    files = TemporaryFiles()
    with environment.set(), files.removed():
        places = Places(files.folder, files.redirect)
        run = FlowRun(case.flow, mocks, places).carry_out()
        for name, ended in run.steps.items():
            shown = {key: files.named(value) for key, value in ended.shown.items()}
            outputs = {key: files.named(value) for key, value in ended.outputs.items()}
            run.steps[name] = replace(ended, shown=shown, outputs=outputs)
        mismatches = compare(case.config, run, mocks)
    return Verdict(case, mismatches, time.perf_counter() - began, run)


@dataclass
class TemporaryFiles:
    """The files of a run, in a folder that is made when one is written."""

    _root: Path | None = None
    _places: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def removed(self) -> Iterator[None]:
        """Remove them at the end of a block."""
        try:
            yield
        finally:
            if self._root is not None:
                shutil.rmtree(self._root, ignore_errors=True)

    def _made(self) -> Path:
        if self._root is None:
            self._root = Path(tempfile.mkdtemp(prefix="flowtoy-test-")).resolve()
        return self._root

    def folder(self, step: str, item: str | None) -> Path:
        """The folder of a step, or of an item of it."""
        parts = [FILES, step] if item is None else [FILES, step, "items", item]
        folder = self._made().joinpath(*(quote(part, safe=" ") for part in parts))
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def redirect(self, place: str) -> str:
        """Where a file is written instead of at a place that an output names."""
        folder = self._made() / "places"
        folder.mkdir(exist_ok=True)
        path = str(folder / quote(place, safe=" "))
        self._places[path] = place
        return path

    def named(self, value: Any) -> Any:
        """A value in which places are as the flow names them."""
        if self._root is None:
            return value
        if isinstance(value, dict):
            return {key: self.named(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.named(item) for item in value]
        if not isinstance(value, str) or str(self._root) not in value:
            return value
        return self._places.get(value, value.replace(f"{self._root}/", ""))
