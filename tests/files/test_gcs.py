"""Files on Google's storage: an object is there when the step has succeeded, and not before
(language 20.3); and a deployment whose files are there.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.datafiles.places import file_system
from flowtoy_dagster.doctor.examine import examine
from flowtoy_dagster.errors import HomeError
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.prune import prune_runs
from flowtoy_dagster.steps.attempts import StepOutcome
from flowtoy_dagster.store.configs import configs_of

Write = Callable[..., StepOutcome]
LINES = {"format": "jsonl"}
LONG = [{"id": number, "text": "x" * 1_000_000} for number in range(12)]
"""More than one part of an upload."""


@pytest.fixture
def gcs(gcs_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The file system of the server, which has an empty bucket."""
    for name, value in gcs_variables.items():
        monkeypatch.setenv(name, value)
    system, _ = file_system("gs://lake")
    if not system.exists("lake"):
        system.mkdir("lake")
    for name in system.find("lake"):
        system.rm(name)
    return system


def test_objects_are_whole_or_absent(gcs: Any, write_pages: Write) -> None:
    place = {**LINES, "path": "gs://lake/{{ run.id }}/rows.jsonl"}
    outcome = write_pages([LONG[:6], LONG[6:]], place)
    assert outcome.error is None, outcome.error
    value = outcome.outputs["out0"]
    assert value["path"] == "gs://lake/r1/rows.jsonl"
    assert gcs.info("lake/r1/rows.jsonl")["size"] == value["bytes"]

    small = write_pages([[{"a": 1}]], {"format": "parquet", "path": "gs://lake/small.parquet"})
    assert small.error is None, small.error
    empty = write_pages([[]], {**LINES, "path": "gs://lake/empty"})
    assert empty.error is None, empty.error
    failing = write_pages([LONG, RuntimeError("no")], {**LINES, "path": "gs://lake/failed"})
    assert failing.error is not None
    assert gcs.find("lake") == ["lake/empty", "lake/r1/rows.jsonl", "lake/small.parquet"]


def test_records_are_read_from_there(gcs: Any, write_pages: Write) -> None:
    from flowtoy_dagster.flow.templates.render import render
    from flowtoy_dagster.outputs.kinds import OUTPUTS

    outcome = write_pages([[{"a": 1}], [{"a": 2}]], {**LINES, "path": "gs://lake/x"})
    assert outcome.error is None, outcome.error
    value = outcome.outputs["out0"]
    assert render("{{ f | records }}", {"f": value}) == [{"a": 1}, {"a": 2}]
    assert OUTPUTS["file"].why_stale(value) is None
    gcs.pipe_file("lake/x", b"other")
    assert "has changed" in (OUTPUTS["file"].why_stale(value) or "")
    gcs.rm("lake/x")
    assert "is missing" in (OUTPUTS["file"].why_stale(value) or "")


def test_a_bucket_that_does_not_exist_is_an_error_at_once(
    gcs: Any, write_pages: Write, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    error = write_pages([LONG[:1]], {**LINES, "path": "gs://nowhere/x"}).error
    assert error == (
        "output 'out0': the file 'gs://nowhere/x' can't be written: "
        "there is no such bucket or object"
    )
    monkeypatch.setenv("FLOWTOY_FILES", "gs://nowhere/x")
    with pytest.raises(HomeError, match="can't be written: there is no such bucket"):
        configs_of(home).save("a", {"flow": []})
    (fault,) = [one for one in examine() if one.part == "files"]
    assert (fault.state, fault.text) == ("fault", "there is no bucket 'nowhere' at gs://nowhere/x")
    monkeypatch.setenv("FLOWTOY_FILES", "gs://lake/x")
    (well,) = [one for one in examine() if one.part == "files"]
    assert (well.state, well.text) == ("ok", "gs://lake/x answers")


KILLED = """
    import os, signal
    from flowtoy_dagster.datafiles.places import open_target
    target = open_target("gs://lake/killed")
    target.write(b"x" * (12 << 20))
    target.finish()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_in_the_middle_leaves_no_object(gcs: Any) -> None:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED)], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    # What the client logs, as that it has no credentials for another API, is not for users.
    assert done.stderr == b""
    assert gcs.find("lake") == []


FLOW: dict[str, Any] = {
    "name": "shared",
    "flow": [
        {
            "name": "rows", "source": "process",
            "input": {"command": ["echo", '[{"id": 1}, {"id": 2}]']},
            "output": [{"name": "file", "type": "file", "format": "jsonl"}],
        },
        {
            "name": "each", "source": "process",
            "for_each": {"in": "{{ flows.rows.file | records }}", "concurrency": 1},
            "input": {"command": ["echo", "{{ item.id }}"]},
            "output": [{"name": "text", "value": "stdout"}],
        },
    ],
}


def test_a_run_on_workers_leaves_everything_there_until_it_is_deleted(
    gcs: Any, flowtoy: Callable[..., Any], made_home: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLOWTOY_FILES", "gs://lake/team/")
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(FLOW))
    done = flowtoy("run", path, "-j")
    assert done.code == 0, done.stderr
    # No warning of the client's, whose log is not for users.
    assert "gcsfs" not in done.stderr
    assert "bucket" not in done.stderr
    with History() as history:
        run_id = history.find("last").run_id
    folder = f"lake/team/flowtoy-records/{run_id}"
    assert done.json["rows"]["file"]["path"] == f"gs://{folder}/files/rows/file.jsonl"
    keys = set(gcs.find("lake"))
    assert {f"{folder}/steps/rows", f"{folder}/steps/each", f"{folder}/items/each",
            f"{folder}/files/rows/file.jsonl"} <= keys
    with History() as history:
        record = history.store.read(run_id, "each")
        assert record is not None
        assert record.outputs == {"text": ["1\n", "2\n"]}
        printed = [content for *_, content in history.captured(history.find("last"), "each")]
        assert b"".join(printed) == b"1\n2\n"
        prune_runs(history, 0)
    assert [key for key in gcs.find("lake") if run_id in key] == []
