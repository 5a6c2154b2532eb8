"""Steps with `incremental`, run without Dagster."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from module_files import load

from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.steps.state.mask import StepMask
from flowtoy_dagster.store.cursors import CursorStore, cursors_of

load(Path(__file__).with_name("histories.py"))
load(Path(__file__).with_name("loop_api.py"))


@pytest.fixture
def cursors(tmp_path: Path) -> CursorStore:
    """The cursors of a home."""
    return cursors_of(tmp_path / "cursors")


@pytest.fixture
def known() -> StepMask:
    """What hides the secrets of the steps that `read` runs."""
    return StepMask()


@pytest.fixture
def read(cursors: CursorStore, known: StepMask) -> Callable[..., StepOutcome]:
    """Runs a step that prints something, with keys of its `incremental`."""

    def run(printed: Any, step: dict[str, Any] | None = None, **incremental: Any) -> StepOutcome:
        text = printed if isinstance(printed, str) else json.dumps(printed)
        written = {
            "name": "it",
            "source": {"type": "process", "command": ["printf", "%s", text], "shell": False},
            "incremental": incremental or {"cursor_path": "at"},
            "output": [
                {"name": "rows", "value": "@"},
                {"name": "start", "value": "{{ incremental.start_value }}", "type": "template"},
                {"name": "last", "value": "{{ incremental.last_value }}", "type": "template"},
            ],
            **(step or {}),
        }
        flow = load_flow({"name": "f", "flow": [written]})
        context = StepContext(
            flow.step("it"), RunInfo("r1", "f", lambda: 0.0), cursors=cursors, mask=known
        )
        return run_step(context, flow.sources, {})

    return run


@pytest.fixture
def leaks() -> Callable[[Path, str], list[Path]]:
    """Gives the files below a folder that hold a text."""

    def found(folder: Path, text: str) -> list[Path]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return [path for path in files if text.encode() in path.read_bytes()]

    return found
