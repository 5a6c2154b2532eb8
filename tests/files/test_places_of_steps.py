"""Steps of a run that write to one place (language 20.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import run_flow


def writer(name: str, path: str, text: str = "echo '[1]'", **more: Any) -> dict[str, Any]:
    output = [{"name": "rows", "type": "file", "format": "jsonl", "path": path}]
    return {"name": name, "output": output, "source": {"type": "process", "command": text}, **more}


@pytest.fixture
def flow(tmp_path: Path, made_home: Path) -> dict[str, Any]:
    (tmp_path / "link").symlink_to(tmp_path)
    there, template = str(tmp_path / "rows"), "{{ params.folder }}/rows"
    other, third = "{{ params.folder }}/{{ 'other' }}", str(tmp_path / "third")
    fallback = {"when": "steps['is replaced'].state == 'failed'"}
    steps = [
        writer("first", there, on_error="continue"),
        writer("second", template, depends_on="first", on_error="continue"),
        writer("by a link", "{{ params.folder }}/link/rows", depends_on="second", on_error="skip"),
        writer("is replaced", third, "exit 1", on_error="continue"),
        writer("replaces it", third, "echo '[2]'", **fallback),
        {"for_each": [1, 2], **writer("loop", "{{ params.folder }}/{{ item }}")},
        writer("like an item", other.replace("'other'", "1"), depends_on="loop", on_error="skip"),
    ]
    return {
        "params": {"folder": str(tmp_path)}, "flow": steps, "runner": {"executor": "in_process"},
    }


def test_the_second_step_that_writes_to_a_place_fails(flow: dict[str, Any], tmp_path: Path) -> None:
    done = run_flow(flow)
    errors = {name: step.error for name, step in done.status.steps.items() if step.error}
    taken = "output 'rows': the step 'first' of this run writes to '{}' already; give each step a"
    loop = f"output 'rows': the step 'loop' of this run writes to '{tmp_path}/1' already; give each"
    assert errors.pop("second").startswith(taken.format(tmp_path / "rows"))
    assert errors.pop("by a link").startswith(taken.format(tmp_path / "rows"))
    assert errors.pop("like an item").startswith(loop)
    assert errors.keys() == {"is replaced"}
    assert (tmp_path / "third").read_text() == "2\n"
