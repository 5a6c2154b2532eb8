"""What the table of faults is made with: servers, workers, and a server that counts calls."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
from runners import environment, own_command

TESTS = Path(__file__).parent.parent / "tests"
WORKERS = TESTS / "deploy" / "postgres" / "workers"
sys.path[:0] = [str(TESTS), str(WORKERS.parent), str(WORKERS / "brokers")]
PATIENCE = 180.0


def wait_until(found: Callable[[], Any], what: str) -> Any:
    """What a function gives as soon as that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (value := found()):
        if time.monotonic() > deadline:
            raise AssertionError(f"in vain: {what}")
        time.sleep(0.02)
    return value


class Counted:
    """An API that counts its calls; one of a path that ends in `slow` is held.

    Attributes:
        calls: how often each path was called.
        reached: set when a held call has come.
        held: answers calls that are held: after so many seconds, or when `go` is set.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.reached, self.go = threading.Event(), threading.Event()
        self.held = 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.calls[self.path] += 1
                if self.path.endswith("slow") and outer.calls[self.path] == 1:
                    outer.reached.set()
                    outer.go.wait(outer.held)
                with contextlib.suppress(OSError):
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def begin(self, held: float) -> None:
        """Begin anew."""
        self.go.set()
        self.calls.clear()
        self.reached, self.go, self.held = threading.Event(), threading.Event(), held



class Door:
    """A way to a server that can be shut: then connections end, and others are not accepted."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.open()

    def open(self) -> None:
        """Accept connections."""
        if self._listening.fileno() < 0:
            self._listening = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=[self._listening], daemon=True).start()

    def shut(self) -> None:
        """End connections, and accept no others."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                inner = listening.accept()[0]
                outer = socket.create_connection(self._target)
            except OSError:
                return
            self._open += [inner, outer]
            for one, other in ((inner, outer), (outer, inner)):
                threading.Thread(target=_pass_on, args=[one, other], daemon=True).start()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
    for each in (one, other):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@dataclass
class Deployment:
    """Servers, workers, and the machine of the runs, which this process is on.

    Attributes:
        engine: workers, redis, rabbitmq or dask.
        folder: for everything.
        database: the server of databases.
        broker: the broker, where there is one.
        store: the way to the file store, where that is an object store.
        variables: what every machine sets.
        workers: the processes of `flowtoy worker`.
    """

    engine: str
    folder: Path
    database: Any
    broker: Any
    store: Door | None
    variables: dict[str, str]
    counted: Counted = field(default_factory=Counted)
    workers: list[psutil.Popen] = field(default_factory=list)

    @property
    def executor(self) -> str:
        """The executor's name."""
        return "workers" if self.broker is None else str(self.broker.executor)

    def start_worker(self, queue: str = "default") -> psutil.Popen:
        """Start a worker; gives it when it takes steps."""
        name = f"worker{time.monotonic_ns()}"
        log = self.folder / f"{name}.log"
        command = [str(own_command()), "worker", "--executor", self.executor, "-c", "2"]
        with open(log, "wb") as file:
            worker = psutil.Popen(
                [*command, "--queue", queue], stderr=file, stdin=subprocess.DEVNULL,
                env={**self.variables, "FLOWTOY_HOME": str(self.folder / name)},
            )
        self.workers.append(worker)
        wait_until(lambda: "takes up to" in log.read_text(), log.read_text())
        return worker

    def callers(self) -> list[psutil.Process]:
        """The processes of workers that have a call open."""
        found = []
        for process in (each for worker in self.workers for each in family(worker)):
            with contextlib.suppress(psutil.Error):
                connections = process.net_connections("tcp4")
                if any(one.raddr and one.raddr.port == self.counted.port for one in connections):
                    found.append(process)
        return found

    def worker_of(self, process: psutil.Process) -> psutil.Popen:
        """The worker that has a process."""
        parents = {each.pid for each in process.parents()}
        return next(each for each in self.workers if each.pid in {*parents, process.pid})

    def close(self) -> None:
        """End the workers."""
        for worker in self.workers:
            for each in family(worker):
                with contextlib.suppress(psutil.Error):
                    each.resume()
            with contextlib.suppress(psutil.Error):
                worker.terminate()
        for worker in self.workers:
            with contextlib.suppress(psutil.Error):
                worker.wait(PATIENCE)


def family(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def kill(processes: list[psutil.Process]) -> None:
    """Kill processes at once."""
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            os.kill(each.pid, signal.SIGKILL)


@contextlib.contextmanager
def deployed(engine: str, files: str) -> Iterator[Deployment]:
    """A deployment with two workers, gone at the end of the block.

    Args:
        engine: workers, redis, rabbitmq or dask.
        files: what `FLOWTOY_FILES` names: `folder` or `s3`.
    """
    from broker_servers import running_broker
    from fsspec.config import conf, set_conf_env
    from postgres_server import running_server

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(running_server())
        variables = {**environment(), "FLOWTOY_STORAGE": database.create("runs")}
        broker = None
        if engine != "workers":
            broker = stack.enter_context(running_broker(engine))
            variables |= broker.variables
        store = None
        if files == "s3":
            store, more = _object_store(stack)
            variables |= more
        else:
            (folder / "files").mkdir(mode=0o700)
            variables["FLOWTOY_FILES"] = str(folder / "files")
        made = Deployment(engine, folder, database, broker, store, variables)
        stack.callback(made.close)
        os.environ.update({**variables, "FLOWTOY_HOME": str(folder / "carrier")})
        if store is not None:
            set_conf_env(conf)  # it was read from the variables of the deployment before
        for _ in range(2):
            made.start_worker()
        yield made


def _object_store(stack: contextlib.ExitStack) -> tuple[Door, dict[str, str]]:
    import boto3
    from s3_server import s3_server

    variables = stack.enter_context(s3_server())
    address = variables["AWS_ENDPOINT_URL"]
    os.environ.update(variables)
    boto3.client("s3").create_bucket(Bucket="flows")
    door = Door(("127.0.0.1", int(address.rpartition(":")[2])))
    address = f"http://127.0.0.1:{door.port}"
    more = {"AWS_ENDPOINT_URL": address, "FSSPEC_S3_ENDPOINT_URL": address}
    return door, {**variables, **more, "FLOWTOY_FILES": "s3://flows/prefix"}
