"""Measure what PostgreSQL as a queue costs: our statements, and procrastinate, a library.

`python benchmarks/queues.py [--jobs N] [--repeats N]`; procrastinate must be there (`pip install
procrastinate psycopg[binary]`). The server is of its own, with durable writes. A job does nothing;
only delivering it is measured: neither a claim of a step nor a lease.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measure import machine

TESTS = Path(__file__).parent.parent / "tests"
MILLISECONDS = 1000
Send = Callable[[], None]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    sys.path[:0] = [str(TESTS), str(TESTS / "deploy" / "postgres")]
    from postgres_server import running_server

    os.environ["FLOWTOY_HOME"] = tempfile.gettempdir()  # nothing is written there
    print(f"{machine()['processor']}; {options.jobs} jobs, medians of {options.repeats}\n")
    print(f"| ms | send | take, 1 worker | take, 4 workers | one job with nothing to do |\n{ROW}")
    with running_server() as server:
        for name, (open_sender, work) in QUEUES.items():
            found = [
                _measured(server.create(f"{name[:4].lower()}{number}"), open_sender, work,
                          options.jobs)
                for number in range(options.repeats)
            ]
            medians = (statistics.median(column) for column in zip(*found, strict=True))
            cells = [name, *(f"{one * MILLISECONDS:.2f}" for one in medians)]
            print(f"| {' | '.join(cells)} |", flush=True)


ROW = "|---|---|---|---|---|"


def _measured(
    address: str, open_sender: Callable[[str], Any], work: Callable[[str, int], None], jobs: int
) -> tuple[float, float, float, float]:
    """Seconds a job: to send, to take with one and four workers, and from its sending."""
    with open_sender(address) as send:
        took = []
        for workers in (1, 4):
            began = time.monotonic()
            for _ in range(jobs):
                send()
            sending = (time.monotonic() - began) / jobs
            with _working(work, address, workers) as read:
                times = sorted(read() for _ in range(jobs))
            took.append((times[-1] - times[0]) / (jobs - 1))
        waits = []
        with _working(work, address, 1) as read:
            send()  # the worker may just be starting
            read()
            for _ in range(50):
                time.sleep(0.05)
                began = time.monotonic()
                send()
                waits.append(read() - began)
    return sending, *took, statistics.median(waits)


@contextlib.contextmanager
def _working(
    work: Callable[[str, int], None], address: str, count: int
) -> Iterator[Callable[[], float]]:
    """Workers; gives what waits for the next job's end, and gives its time."""
    reading, writing = os.pipe()
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, reading)
        stack.callback(os.close, writing)
        os.set_inheritable(writing, True)
        path = f"/proc/{os.getpid()}/fd/{writing}"
        for _ in range(count):
            process = context.Process(target=_work, args=(work, address, path))
            process.start()
            stack.callback(process.join)
            stack.callback(process.kill)
        yield lambda: struct.unpack("d", os.read(reading, 8))[0]


def _work(work: Callable[[str, int], None], address: str, path: str) -> None:
    work(address, os.open(path, os.O_WRONLY))

_ROUTE = "0" * 12


def _done(descriptor: int) -> None:
    os.write(descriptor, struct.pack("d", time.monotonic()))


@contextlib.contextmanager
def _own_sender(address: str) -> Iterator[Send]:
    from flowtoy_dagster.engine.executors.remote.database import Database
    from flowtoy_dagster.engine.executors.remote.leases import Leases
    from flowtoy_dagster.engine.executors.remote.message import Message
    from flowtoy_dagster.engine.executors.remote.workers import PostgresQueue
    from flowtoy_dagster.engine.sites.site import Site

    database = Database(address, 30)
    Leases(database, Site("", "", 1, "", ""))  # makes the tables
    queue, sent = PostgresQueue(database, _ROUTE), 0

    def send() -> None:
        nonlocal sent
        sent += 1
        queue.submit(Message("0" * 36, sent), "default")

    with contextlib.closing(database):
        yield send


def _own_work(address: str, descriptor: int) -> None:
    from flowtoy_dagster.engine.executors.remote.database import Database
    from flowtoy_dagster.engine.executors.remote.leases import WAKE_CHANNEL
    from flowtoy_dagster.engine.executors.remote.workers import PostgresQueue

    database = Database(address, 30)
    database.listen(WAKE_CHANNEL)
    queue = PostgresQueue(database, _ROUTE)
    while True:
        if queue.take() is None:
            database.wait(5)
        else:
            _done(descriptor)


@contextlib.contextmanager
def _library_sender(address: str) -> Iterator[Send]:
    import procrastinate

    app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=address))
    with app.open():
        app.schema_manager.apply_schema()
        step = app.configure_task("step")
        yield lambda: step.defer(text="0" * 60)


def _library_work(address: str, descriptor: int) -> None:
    import procrastinate

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=address))

    @app.task(name="step")
    async def step(text: str) -> None:
        _done(descriptor)

    app.run_worker(delete_jobs="always", install_signal_handlers=False)


QUEUES: dict[str, tuple[Callable[[str], Any], Callable[[str, int], None]]] = {
    "our statements": (_own_sender, _own_work),
    "procrastinate": (_library_sender, _library_work),
}


if __name__ == "__main__":
    main()
