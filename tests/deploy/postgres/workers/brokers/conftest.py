"""Real brokers on free ports with folders of their own, and workers that listen to them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ports import unused_port  # type: ignore[import-not-found]
from programs import need  # type: ignore[import-not-found]

PASSWORD = "br0ker/p+ss"
QUOTED = "br0ker%2Fp%2Bss"
WORKERS_SECRET = "s3cr3t-of-the-workers-only"
"""In the environment of workers alone, as SHOP_PASSWORD."""


@dataclass
class Broker:
    """A broker that runs.

    Attributes:
        executor: what uses it.
        variables: what its users set.
        folder: all that it writes.
        command: starts it.
        environment: of that command, beside the tests' own.
        ready: what it prints when it takes connections.
        process: of the command.
    """

    executor: str
    variables: dict[str, str]
    folder: Path
    command: list[str]
    ready: str
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it has printed since it was started last."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def start(self) -> None:
        """Start it; does not wait until it takes connections."""
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env={**os.environ, **self.environment}, start_new_session=True,
            )

    def kill(self) -> None:
        """End it and all that it has started, as a power cut does."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def texts(self) -> Iterator[str]:
        """All that it has written, but for its own settings."""
        for path in self.folder.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and "settings" not in path.name:
                    yield path.read_bytes().decode("utf-8", "replace")


def _redis(folder: Path, _: contextlib.ExitStack) -> Broker:
    need("redis-server")
    port = unused_port()
    (folder / "settings").write_text(
        f'bind 127.0.0.1\nport {port}\nrequirepass "{PASSWORD}"\n'
        f'dir "{folder}"\nappendonly yes\nsave ""\n'
    )
    address = f"redis://:{QUOTED}@127.0.0.1:{port}/0"
    return Broker(
        "celery", {"FLOWTOY_BROKER": address}, folder, ["redis-server", str(folder / "settings")],
        "eady to accept connections",
    )


def _rabbitmq(folder: Path, stack: contextlib.ExitStack) -> Broker:
    need("rabbitmq-server")
    need("epmd")
    port, own_port, names_port = unused_port(), unused_port(), unused_port()
    (folder / "settings.conf").write_text(
        f"default_user = flow\ndefault_pass = {PASSWORD}\nloopback_users = none\n"
    )
    (folder / "plugins").write_text("[].")
    environment = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": "flowtoy@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(own_port),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_CONFIG_FILE": str(folder / "settings"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        "ERL_EPMD_PORT": str(names_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
    # Erlang would start one that outlives it.
    names = subprocess.Popen(["epmd"], env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    stack.callback(names.wait)
    stack.callback(names.terminate)
    address = f"amqp://flow:{QUOTED}@127.0.0.1:{port}//"
    # What is on the PATH is a wrapper that wants to be root.
    command = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    return Broker(
        "celery", {"FLOWTOY_BROKER": address}, folder, [command], "completed with", environment
    )


def _dask(folder: Path, _: contextlib.ExitStack) -> Broker:
    port, web_port = unused_port(), unused_port()
    command = [
        sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1",
        "--port", str(port), "--no-dashboard", "--dashboard-address", f"127.0.0.1:{web_port}",
    ]
    address = f"tcp://127.0.0.1:{port}"
    return Broker("dask", {"FLOWTOY_DASK": address}, folder, command, "Scheduler at:")


@dataclass
class Deployment:
    """A broker, two workers and what all machines share.

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

    def wait_for_broker(self) -> None:
        """Wait until the broker takes connections."""
        self.machines.wait_until(
            lambda: self.broker.ready in self.broker.log
            or (self.broker.process is not None and self.broker.process.poll() is not None),
            "a broker that is ready",
        )
        assert self.broker.ready in self.broker.log, self.broker.log

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


MAKERS: dict[str, Callable[[Path, contextlib.ExitStack], Broker]] = {
    "redis": _redis, "rabbitmq": _rabbitmq, "dask": _dask,
}
CELERY = (
    "celery", "-A", "flowtoy_dagster.celery", "worker", "-c", "2", "-Q", "flowtoy.default",
    "--without-gossip", "--without-mingle", "-l", "INFO",
)
DASK = (
    "distributed.cli.dask_worker", "{FLOWTOY_DASK}", "--preload", "flowtoy_dagster.dask",
    "--resources", "flowtoy.default=2", "--nthreads", "2", "--no-nanny", "--no-dashboard",
    "--local-directory", "{folder}",
)
MODULES: dict[str, tuple[str, ...]] = {"redis": CELERY, "rabbitmq": CELERY, "dask": DASK}
"""How a worker is started by the engine's own command: a Python module and its arguments."""


@pytest.fixture(scope="module")
def brokers() -> Iterator[Callable[[str], Broker]]:
    """Brokers by their names, which are started when they are asked for."""
    found: dict[str, Broker] = {}
    with contextlib.ExitStack() as stack:
        def broker(name: str) -> Broker:
            if name not in found:
                folder = Path(tempfile.mkdtemp(prefix=f"flowtoy-{name}-"))
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
                found[name] = MAKERS[name](folder, stack)
                stack.callback(found[name].kill)
                found[name].start()
            return found[name]

        yield broker


@pytest.fixture(scope="module")
def deployments(
    machines: Any, brokers: Callable[[str], Broker]
) -> Iterator[Callable[[str], Deployment]]:
    """Brokers with two workers each, which are started when they are asked for."""
    found: dict[str, Deployment] = {}

    def deployment(name: str) -> Deployment:
        if name not in found:
            made = found[name] = Deployment(machines, brokers(name))
            made.wait_for_broker()
            places = {**made.broker.variables, "folder": str(made.broker.folder / "worker")}
            module, *arguments = (part.format(**places) for part in MODULES[name])
            own = machines.launch(
                module, *arguments, **made.broker.variables, SHOP_PASSWORD=WORKERS_SECRET
            )
            made.workers = [made.launch("default", "-c", "2"), own]
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
