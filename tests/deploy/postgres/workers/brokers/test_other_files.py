"""Workers of a broker whose shared files are not those of the run."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.executors.remote import pool

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")


@pytest.mark.parametrize("name", ["redis", "rabbitmq", "dask"])
def test_a_worker_with_other_files_gets_no_message_and_a_run_without_another_one_says_why(
    deployments: Any, carried: Any, write: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, name: str,
) -> None:
    tmp_path.chmod(0o700)
    deployment = carried(deployments(name))
    monkeypatch.setattr(pool, "TELL_AFTER", 1.0)
    # What is lost is not sent again.
    for pause in ("SEND_AGAIN", "SEND_SOON"):
        monkeypatch.setattr(pool, pause, 1e6)

    def start(queue: str) -> Any:
        worker = deployment.machines.launch(
            "flowtoy_dagster", "worker", "--executor", deployment.executor, "-c", "4",
            "--queue", queue, **{**deployment.broker.variables, "FLOWTOY_FILES": str(tmp_path)},
        )
        worker.wait_for("takes up to")
        return worker

    def flow(queue: str, timeout: str) -> Path:
        return write(f"""
            runner: {{executor: {deployment.executor}, timeout: {timeout},
                      executor_options: {{queue: {queue}}}}}
            flow:
              - {{name: one, source: {{type: process, command: ["true"]}}}}
              - {{name: two, depends_on: one, source: {{type: process, command: ["true"]}}}}
              - {{name: three, depends_on: two, source: {{type: process, command: ["true"]}}}}
        """)

    wrong = start("default")
    done = run_flow(flow("default", "90s"))
    assert done.success, [step.error for step in done.status.steps.values()]
    alone = start("alone")
    error = run_flow(flow("alone", "8s")).status.steps["one"].error or ""
    assert f"none on queue 'alone' can take it: the worker on {socket.gethostname()} has" in error
    assert f"the folder {tmp_path} there, the folder {deployment.machines.files} here" in error
    assert "takes step" not in wrong.log + alone.log
    assert (wrong.end(), alone.end()) == (0, 0)
