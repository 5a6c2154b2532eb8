"""Real brokers on free ports with folders of their own, and workers that listen to them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from module_files import load

servers = load(Path(__file__).with_name("broker_servers.py"))
Broker = Any
WORKERS_SECRET = "s3cr3t-of-the-workers-only"
"""In the environment of workers alone, as SHOP_PASSWORD."""


@dataclass
class Deployment:
    """A broker, its workers and what all machines share.

    Attributes:
        machines: what the machines share.
        broker: how steps get from one to the other.
        workers: the workers, each another way to start one.
    """

    machines: Any
    broker: Broker
    workers: list[Any] = field(default_factory=list)

    @property
    def executor(self) -> str:
        """The executor's name."""
        return self.broker.executor

    def launch(self, queue: str = "default", *options: str) -> Any:
        """Start a worker; does not wait until it takes steps."""
        return self.machines.launch(
            "flowtoy_dagster", "worker", "--executor", self.executor, "--queue", queue, *options,
            **self.broker.variables, SHOP_PASSWORD=WORKERS_SECRET,
        )

    def start(self, queue: str = "default", *options: str) -> Any:
        """Start a worker; gives it when it takes steps."""
        worker = self.launch(queue, *options)
        worker.wait_for("takes up to")
        return worker


CELERY = (
    "celery", "-A", "flowtoy_dagster.celery", "worker", "-c", "2", "-Q", "flowtoy.default",
    "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO",
)
DASK = (
    "distributed.cli.dask_worker", "{FLOWTOY_DASK}", "--preload", "flowtoy_dagster.dask",
    "--resources", "flowtoy.default=2", "--nthreads", "2", "--no-nanny", "--no-dashboard",
    "--local-directory", "{folder}",
)
MODULES: dict[str, tuple[str, ...]] = {"redis": CELERY, "dask": DASK}
"""How a second worker is started, by the engine's own command: a module and its arguments."""


@pytest.fixture(scope="module")
def brokers() -> Iterator[Callable[[str], Broker]]:
    """Brokers by their names, which are started when they are asked for."""
    found: dict[str, Broker] = {}
    with contextlib.ExitStack() as stack:
        def broker(name: str) -> Broker:
            if name not in found:
                found[name] = stack.enter_context(servers.running_broker(name))
            return found[name]

        yield broker


@pytest.fixture(scope="module")
def deployments(
    machines: Any, brokers: Callable[[str], Broker]
) -> Iterator[Callable[[str], Deployment]]:
    """Brokers with workers, which are started when they are asked for."""
    found: dict[str, Deployment] = {}

    def deployment(name: str) -> Deployment:
        if name not in found:
            made = found[name] = Deployment(machines, brokers(name))
            made.workers = [made.launch("default", "-c", "2")]
            if name in MODULES:
                places = {**made.broker.variables, "folder": str(made.broker.folder / "worker")}
                module, *arguments = (part.format(**places) for part in MODULES[name])
                made.workers.append(machines.launch(
                    module, *arguments, **made.broker.variables, SHOP_PASSWORD=WORKERS_SECRET
                ))
            for worker in made.workers:
                worker.wait_for("takes up to")
        return found[name]

    yield deployment
    machines.close()


@pytest.fixture
def carried(here: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Deployment], Deployment]:
    """Sets what the machine of the run must know of a deployment's broker."""
    def carry(deployment: Deployment) -> Deployment:
        for name, value in deployment.broker.variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("SHOP_PASSWORD", raising=False)
        return deployment

    return carry
