"""Tags of runs, which everybody who may start a run writes: they lead to no file of theirs."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest

from flowtoy_dagster.engine.tags import CONFIG_TAG
from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry


@dg.job
def theirs() -> None:
    """A job of somebody's."""


@pytest.mark.parametrize("way", ["{evil}", "../../{evil}", "../{name}", "{evil}\n"])
def test_a_retry_executes_no_file_that_a_tag_names(
    made_home: Path, tmp_path: Path, way: str
) -> None:
    program = {"command": ["touch", str(tmp_path / "executed")]}
    config = {"flow": [{"name": "a", "source": {"type": "process", **program}}]}
    evil = tmp_path / "evil"
    for place in (evil, evil.with_suffix(".json"), made_home / "evil.json"):
        place.write_text(json.dumps({"name": "evil", "config": config}))
    with History(made_home) as history:
        run = history.instance.create_run_for_job(
            theirs, tags={CONFIG_TAG: way.format(evil=evil, name="evil")},
            status=dg.DagsterRunStatus.FAILURE,
        )
        with pytest.raises(HomeError, match="is not the hash of a saved configuration"):
            plan_retry(history, run)
    assert not (tmp_path / "executed").exists()
