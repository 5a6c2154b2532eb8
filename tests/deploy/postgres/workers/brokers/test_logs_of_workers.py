"""What workers behind a broker log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.executors.brokers.celery.app import make_app
from flowtoy_dagster.engine.executors.brokers.deployment import deployment_here
from flowtoy_dagster.engine.executors.brokers.outbox import queue_name

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")


def test_what_celery_reports_is_a_line_in_a_workers_log_and_no_traceback(
    deployments: Any, carried: Any, write: Callable[..., Path]
) -> None:
    # A task that is not flowtoy's: Celery reports it with a traceback, and with what was sent.
    deployment = carried(deployments("redis"))
    worker = deployment.start("foreign")
    with make_app(deployment.broker.variables["FLOWTOY_BROKER"]) as app:
        queue = queue_name(deployment_here().name, "foreign")
        app.send_task("shop.sell", ("what-was-sold",), queue=queue, ignore_result=True)
    worker.wait_for("shop.sell")
    flow = write("""
        flow: [{name: one, source: env}]
        runner: {executor: celery, executor_options: {queue: foreign}}
    """)
    assert run_flow(flow).success
    assert worker.end() == 0
    reports = [line for line in worker.log.splitlines() if "of run" not in line]
    assert [line.partition(": ")[2] for line in reports] == [
        "", "Received unregistered task of type 'shop.sell'.", "",
    ], worker.log
    assert "what-was-sold" not in worker.log
