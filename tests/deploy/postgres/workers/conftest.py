"""A deployment on one machine as if it were three: homes of their own, one database, one folder."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from module_files import load

_SHOPS = load(Path(__file__).with_name("shops.py"))
PATIENCE = 120.0
"""Seconds for which is waited; a busy machine may need many."""


def wait_until(found: Callable[[], Any], what: str) -> Any:
    """What a function gives as soon as that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (value := found()):
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.02)
    return value


@dataclass
class Worker:
    """A `flowtoy worker` that runs."""

    process: subprocess.Popen[bytes]
    home: Path
    log_file: Path

    @property
    def log(self) -> str:
        """What it has printed."""
        return self.log_file.read_text(encoding="utf-8")

    def wait_for(self, text: str) -> None:
        """Wait until it has printed a text."""
        wait_until(
            lambda: text in self.log or self.process.poll() is not None, f"{text!r} in {self.log}"
        )
        assert text in self.log, self.log

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Have it end; its exit code."""
        self.tell_to_end()
        return self.process.wait(PATIENCE)

    def tell_to_end(self) -> None:
        """Have it end, some time."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.process.pid)
            for each in (*process.children(recursive=True), process):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.resume()
        self.process.terminate()


@dataclass
class Machines:
    """What the machines of a deployment share, and the workers that were started.

    Attributes:
        folder: for everything; `files` is what the machines share.
        name: of the database.
        address: of the database.
        server: the server of databases.
        working_folder: where workers start; by default `folder`.
        prefix: a command that workers are arguments of.
    """

    folder: Path
    name: str
    address: str
    server: Any
    workers: list[Worker] = field(default_factory=list)
    working_folder: Path | None = None
    prefix: Sequence[str] = ()

    wait_until = staticmethod(wait_until)
    patience = PATIENCE

    @property
    def files(self) -> Path:
        """The folder that all machines share."""
        return self.folder / "files"

    def environment(self, home: str) -> dict[str, str]:
        """What a machine sets."""
        return {
            "FLOWTOY_HOME": str(self.folder / home),
            "FLOWTOY_FILES": str(self.files),
            "FLOWTOY_STORAGE": self.address,
        }

    def start(self, *options: str, **variables: str) -> Worker:
        """Start a worker on a machine of its own; gives it when it takes steps."""
        worker = self.launch("flowtoy_dagster", "worker", *options, **variables)
        worker.wait_for("takes up to")
        return worker

    def launch(self, module: str, *arguments: str, **variables: str) -> Worker:
        """Start a program that is a worker; does not wait until it takes steps."""
        name = f"worker{len(self.workers)}"
        log = self.folder / f"{name}.log"
        with open(log, "wb") as file:
            process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                cwd=self.working_folder or self.folder,
                env={**os.environ, **self.environment(name), **variables},
            )
        worker = Worker(process, self.folder / name, log)
        self.workers.append(worker)
        return worker

    def sql(self, query: str) -> str:
        """What a query gives, as lines."""
        rows: str = self.server.sql(self.name, query)
        return rows.strip()

    def close(self) -> None:
        """End what was started."""
        running = [worker for worker in self.workers if worker.process.poll() is None]
        for worker in running:
            worker.tell_to_end()
        for worker in running:
            worker.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def machines(
    server: Any, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machines]:
    """A database and a folder that several machines share; no worker is there yet."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    made = Machines(
        tmp_path_factory.mktemp("machines"), name, server.create(name, template), server
    )
    made.files.mkdir(mode=0o700)
    yield made
    made.close()


@pytest.fixture
def here(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> Machines:
    """The deployment, whose first machine this process is on."""
    for variable, value in machines.environment("carrier").items():
        monkeypatch.setenv(variable, value)
    return machines


@pytest.fixture
def shops(here: Machines, tmp_path: Path) -> Callable[..., Any]:
    """Makes `Shops`, which this process runs on workers of a queue of their own."""
    return lambda **options: _SHOPS.Shops(tmp_path, **options)
