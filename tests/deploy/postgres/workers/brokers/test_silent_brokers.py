"""Brokers behind a proxy that passes nothing more on: each connection looks sound, for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from module_files import load

from flowtoy_dagster import run_flow

proxies = load(Path(__file__).parents[1] / "proxies.py")
pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")


@pytest.mark.parametrize("side", ["run", "worker"])
@pytest.mark.parametrize("name", ["redis", "rabbitmq"])
def test_a_connection_of_which_nothing_comes_any_more_is_made_anew(
    deployments: Any, carried: Any, write: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, name: str, side: str,
) -> None:
    deployment = carried(deployments(name))
    address = deployment.broker.variables["FLOWTOY_BROKER"]
    port = urlsplit(address).port
    go, begun = tmp_path / "go", tmp_path / "begun"
    wait = f"touch {begun}; until test -e {go}; do sleep 0.05; done"
    flow = write(f"""
        runner:
          {{executor: celery, executor_options: {{queue: silent-{side}}}, timeout: 150s}}
        flow:
          - {{name: one, source: {{type: process, command: [sh, -c, "{wait}"]}}}}
          - {{name: two, depends_on: one, source: {{type: process, command: ["true"]}}}}
    """)
    with proxies.running_proxy(port) as proxy:
        through = {"FLOWTOY_BROKER": address.replace(f":{port}", f":{proxy.port}")}
        worker = deployment.machines.launch(
            "flowtoy_dagster", "worker", "--executor", "celery", "--queue", f"silent-{side}",
            **{**deployment.broker.variables, **(through if side == "worker" else {})},
        )
        worker.wait_for("takes up to")
        if side == "run":
            monkeypatch.setenv("FLOWTOY_BROKER", through["FLOWTOY_BROKER"])

        def cut() -> None:
            deployment.machines.wait_until(begun.exists, "the first step")
            proxy.forget()
            go.touch()

        cutting = threading.Thread(target=cut)
        cutting.start()
        done = run_flow(flow)
        cutting.join()
        assert done.success, [step.error for step in done.status.steps.values()]
        assert worker.end() == 0
