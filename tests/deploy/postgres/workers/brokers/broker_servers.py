"""Brokers of their own for tests and benchmarks, from Debian's packages and Dask's."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ports import unused_port  # type: ignore[import-not-found]
from programs import need  # type: ignore[import-not-found]

PATIENCE = 120.0
PASSWORD = "br0ker/p+ss"
QUOTED = "br0ker%2Fp%2Bss"


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

    def wait(self) -> None:
        """Wait until it takes connections."""
        deadline = time.monotonic() + PATIENCE
        while self.ready not in self.log:
            ended = self.process is None or self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise AssertionError(self.log)
            time.sleep(0.02)

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


def _rabbitmq(folder: Path, stack: contextlib.ExitStack, settings: str = "") -> Broker:
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
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"+S 1:1 +sbwt none {settings}",
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


def _impatient(folder: Path, stack: contextlib.ExitStack) -> Broker:
    """RabbitMQ that does for steps of 2 seconds what it else does for those of half an hour."""
    settings = "-rabbit consumer_timeout 2000 -rabbit channel_tick_interval 500"
    return _rabbitmq(folder, stack, settings)


MAKERS: dict[str, Callable[[Path, contextlib.ExitStack], Broker]] = {
    "redis": _redis, "rabbitmq": _rabbitmq, "impatient rabbitmq": _impatient, "dask": _dask,
}


@contextlib.contextmanager
def running_broker(name: str) -> Iterator[Broker]:
    """A new broker that takes connections, gone with its data at the end of the block.

    Args:
        name: redis, rabbitmq or dask.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix=f"flowtoy-{name}-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        broker = MAKERS[name](folder, stack)
        stack.callback(broker.kill)
        broker.start()
        broker.wait()
        yield broker
