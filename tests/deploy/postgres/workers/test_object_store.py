"""Steps on another machine with nothing shared but the database and an object store."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.loader import load_flow, with_executor
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry, retry_run

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")

FLOW = """
    params: {folder: {type: string}}
    flow:
      - name: process before
        source: {type: process, command: [sh, -c, "echo $PPID"]}
        output: [{name: id, value: stdout}]
      - name: rows
        depends_on: process before
        source: {type: process, command: [echo, '[{"id": 1}, {"id": 2}]']}
        output:
          - {name: file, type: file, format: jsonl}
      - name: each
        for_each: "{{ flows.rows.file | records }}"
        source: {type: process, command: [echo, -n, "{{ item.id }}"]}
        output: [{name: text, value: stdout}]
      - name: process after
        depends_on: each
        source: {type: process, command: [sh, -c, "echo $PPID"]}
        output: [{name: id, value: stdout}]
      - name: prints
        depends_on: process after
        source:
          type: process
          command:
            - sh
            - -c
            - echo begun; while ! test -e {{ params.folder }}/go; do sleep 0.05; done; echo ended
      - name: fails once
        depends_on: prints
        source: {type: process, command: [test, -e, "{{ params.folder }}/fixed"]}
"""


@pytest.fixture
def shared(
    here: Any, s3_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The variables of machines that share an object store instead of a folder."""
    import boto3

    variables = {**s3_variables, "FLOWTOY_FILES": "s3://team/flowtoy"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="team")
    return variables


@pytest.mark.timeout(800)
def test_records_files_logs_and_retries_go_through_the_object_store(
    shared: dict[str, str], here: Any, write: Callable[..., Path], tmp_path: Path,
) -> None:
    worker = here.start("-c", "1", **shared)
    flow = with_executor(load_flow(write(FLOW)), "workers")
    seen: list[str] = []
    created = threading.Event()
    ids: list[str] = []

    def watch() -> None:
        """Let the step end when what it has printed so far is seen from here."""
        created.wait()
        try:
            with History(tmp_path / "watching") as history:
                here.wait_until(lambda: "begun\n" in printed(history, ids[0]), "the live log")
                seen.append(printed(history, ids[0]))
        finally:
            (tmp_path / "go").touch()

    thread = threading.Thread(target=watch)
    thread.start()
    first = run_flow(
        flow, params={"folder": str(tmp_path)},
        on_created=lambda run_id: (ids.append(run_id), created.set()),  # type: ignore[func-returns-value]
    )
    thread.join()
    assert {name: step.state for name, step in first.status.steps.items()} == {
        "process before": "succeeded", "rows": "succeeded", "each": "succeeded",
        "process after": "succeeded", "prints": "succeeded", "fails once": "failed",
    }, [step.error for step in first.status.steps.values()]
    assert first.outputs["each"] == {"text": ["1", "2"]}
    assert first.outputs["rows"]["file"]["path"].startswith("s3://team/flowtoy/flowtoy-records/")
    assert seen
    assert "ended\n" not in seen[0]
    # The threads of the object store do not cost the process that runs the steps.
    assert first.outputs["process before"] == first.outputs["process after"]
    (tmp_path / "fixed").touch()
    with History(Path(os.environ["FLOWTOY_HOME"])) as history:
        assert "begun\nended\n" in printed(history, ids[0])
        second = retry_run(history, plan_retry(history, history.find(first.run_id)), 4)
    assert second.success, [step.error for step in second.status.steps.values()]
    states = {name: step.state for name, step in second.status.steps.items()}
    assert states["fails once"] == "succeeded"
    assert second.outputs["each"] == {"text": ["1", "2"]}
    assert worker.end() == 0
    assert "Traceback" not in worker.log


def printed(history: Any, run_id: str) -> str:
    """What the steps of a run have printed, as far as it can be seen."""
    run = history.find(run_id)
    return b"".join(content for _, _, content in history.captured(run, None)).decode()
