"""Ending a run whose process is on another machine, or in another container."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.executors.scheduling.cancel_requests import (
    CANCEL_TAG,
    CancelRequests,
    request_cancel,
)
from flowtoy_dagster.errors import RunInterrupted
from flowtoy_dagster.runs.cancel import cancel_run
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.sessions.carriers import SESSION_TAG

ELSEWHERE = "one/machine/another-boot/1-2/17/4711"
FLOW = """
flow:
  - {{name: waits, source: {{type: process, command: [sh, -c, "echo $$ > {started}; sleep 600"]}}}}
  - {{name: after, depends_on: waits, source: env}}
  - {{name: cleans up, run_if: always, source: env}}
runner: {{executor: {executor}, grace: 200}}
"""


@pytest.mark.parametrize(
    ("executor", "session"),
    [("warm", ELSEWHERE), ("multiprocess", None), ("in_process", ELSEWHERE)],
    ids=["warm", "multiprocess, launched by others", "in_process"],
)
def test_a_run_that_is_carried_elsewhere_ends_as_by_ctrl_c(
    home: Path, write: Callable[..., Path], tmp_path: Path, executor: str, session: str | None
) -> None:
    # runtime 9
    started, created = tmp_path / "started", threading.Event()
    runs: list[str] = []
    errors: list[Exception] = []

    def cancel() -> None:
        try:
            created.wait()
            while not (started.exists() and started.read_text()):
                time.sleep(0.02)
            with History(home) as history:
                run = history.find(runs[0])
                tags = {key: value for key, value in run.tags.items() if key != SESSION_TAG}
                more = {} if session is None else {SESSION_TAG: f"{session}/{run.run_id}"}
                cancel_run(history, run._replace(tags={**tags, **more}))
        except Exception as error:
            errors.append(error)

    def note(run_id: str) -> None:
        runs.append(run_id)
        created.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(RunInterrupted, match="is cancelled") as ended:
        run_flow(write(FLOW.format(started=started, executor=executor)), on_created=note)
    thread.join()
    assert errors == []
    status = ended.value.run.status  # type: ignore[union-attr]
    assert status.state == "cancelled"
    assert {name: step.state for name, step in status.steps.items()} == {
        "waits": "failed", "after": "skipped", "cleans up": "succeeded",
    }
    with History(home) as history:
        kinds = [
            entry.dagster_event.event_type_value
            for entry in history.instance.all_logs(runs[0]) if entry.dagster_event is not None
        ]
    assert kinds.count("PIPELINE_CANCELING") == kinds.count("PIPELINE_CANCELED") == 1


def test_each_request_counts_once_and_those_of_a_parent_do_not_count() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        parent, run = (
            instance.add_run(dg.DagsterRun("job", str(uuid.uuid4()), status=status))
            for status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTED)
        )
        requests = CancelRequests(instance, run)
        assert not look(requests)
        instance.add_run_tags(run.run_id, {CANCEL_TAG: f"0/{parent.run_id}"})
        assert not look(requests)
        for _ in range(2):
            request_cancel(instance, run.run_id)
            assert look(requests)
            assert not look(requests)
        # Right after a look there is no other one.
        request_cancel(instance, run.run_id)
        assert not requests.heard()


def look(requests: Any) -> bool:
    """Look now, as if a second had passed."""
    requests._due = 0.0
    return bool(requests.heard())
