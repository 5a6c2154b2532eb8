"""Steps that take longer than a broker waits for the end of a message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from amqp.exceptions import AccessRefused, ChannelError, PreconditionFailed

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.executors.brokers.celery.worker import SteadyConsumer

pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")

RUNS = 4
"""Between any two of them the worker may lose its connection while it waits for an answer."""


def test_a_worker_outlives_the_time_that_rabbitmq_gives_it_for_a_step(
    deployments: Any, carried: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    deployment = carried(deployments("impatient rabbitmq"))
    flow = write(f"""
        runner: {{executor: celery, timeout: 60s}}
        flow:
          - name: long
            source: {{type: process, command: [sh, -c, "echo x >> {tmp_path}/calls; sleep 6"]}}
          - {{name: after, depends_on: long, source: {{type: process, command: ["true"]}}}}
    """)
    for _ in range(RUNS):
        done = run_flow(flow)
        assert done.success, [step.error for step in done.status.steps.values()]
    assert (tmp_path / "calls").read_text() == "x\n" * RUNS
    (worker,) = deployment.workers
    assert worker.process.poll() is None
    logs = deployment.broker.folder.joinpath("logs").glob("*.log")
    log = "".join(each.read_text() for each in logs)
    assert "acknowledgement on channel" in log
    # The worker goes on to talk with the broker after each new connection.
    assert "missed heartbeats" not in log


def test_a_worker_to_which_a_broker_refuses_something_ends_with_the_reason() -> None:
    asked = SimpleNamespace(channel_errors=(ChannelError,), connection_errors=(OSError,))
    for refused in (AccessRefused("access to the queue refused"), PreconditionFailed("other type")):
        with pytest.raises(ChannelError) as raised:
            SteadyConsumer.on_connection_error_after_connected(asked, refused)
        assert raised.value is refused
