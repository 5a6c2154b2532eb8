"""Make each fault that a deployment meets, and show what becomes of the run.

`python benchmarks/faults.py [ENGINE…] [--faults NAME…] [--repeats N]`; an engine is workers, redis,
rabbitmq or dask. Servers, workers and the API that counts calls are its own. A run is three steps,
one after another; the fault comes while the second one is calling.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from fault_parts import Deployment, deployed, family, kill, wait_until
from runners import own_command

LONG = 600.0
"""Seconds for which a call is held that is to be broken off."""


@dataclass(frozen=True)
class Fault:
    """A fault, and what must become of a run.

    Attributes:
        make: makes it, once the second step calls; given the deployment and the run's id.
        calls: how often the second step is called, and how often it is tried.
        held: seconds for which its first call is held.
        engines: the engines that can have it.
        files: what `FLOWTOY_FILES` must name; None where that does not matter.
    """

    make: Callable[[Deployment, str], None]
    calls: int = 1
    held: float = LONG
    engines: tuple[str, ...] = ("workers", "redis", "rabbitmq", "dask")
    files: str = "folder"


@dataclass(frozen=True)
class End:
    """What became of a run.

    Attributes:
        state: of the run.
        attempts: of the second step.
        calls: of the steps, as the server has counted them.
        seconds: from the fault to the run's end.
    """

    state: str
    attempts: int
    calls: tuple[int, int, int]
    seconds: float


def kill_step(deployed: Deployment, run_id: str) -> None:
    """The process that runs the step is killed."""
    kill(deployed.callers())


def kill_agent(deployed: Deployment, run_id: str) -> None:
    """The worker is killed, and what it has forked is left."""
    (caller,) = deployed.callers()
    worker = deployed.worker_of(caller)
    kill([worker])
    _replace(deployed, worker)


def lose_machine(deployed: Deployment, run_id: str) -> None:
    """The worker and all that it has started are gone at once."""
    (caller,) = deployed.callers()
    worker = deployed.worker_of(caller)
    kill(family(worker))
    _replace(deployed, worker)


def stop_worker(deployed: Deployment, run_id: str) -> None:
    """The worker and its steps are stopped for 14 s, and go on."""
    (caller,) = deployed.callers()
    stopped = family(deployed.worker_of(caller))
    for each in stopped:
        each.suspend()
    time.sleep(14)
    for each in stopped:
        each.resume()


def kill_broker(deployed: Deployment, run_id: str) -> None:
    """The broker, or Dask's scheduler, is killed, and comes back after 8 s."""
    deployed.broker.kill()
    deployed.counted.go.set()
    time.sleep(8)
    deployed.broker.start()


def stop_database(deployed: Deployment, run_id: str) -> None:
    """PostgreSQL is stopped for 14 s; the step ends meanwhile."""
    deployed.database.stop()
    deployed.counted.go.set()
    time.sleep(14)
    deployed.database.start()


def shut_store(deployed: Deployment, run_id: str) -> None:
    """The store of files is away for 10 s; the step ends meanwhile."""
    assert deployed.store is not None
    deployed.store.shut()
    deployed.counted.go.set()
    time.sleep(10)
    deployed.store.open()


def send_again(deployed: Deployment, run_id: str) -> None:
    """All messages of the run are delivered three times more, and some that there are not."""
    _send(deployed, run_id)
    deployed.counted.go.set()


def nothing(deployed: Deployment, run_id: str) -> None:
    """No fault: for comparison."""
    deployed.counted.go.set()


FAULTS: dict[str, Fault] = {
    "none": Fault(nothing),
    "step process killed": Fault(kill_step, 2),
    "agent killed": Fault(kill_agent, 2),
    "machine gone": Fault(lose_machine, 2),
    "worker stopped 14 s": Fault(stop_worker, 2),
    "broker killed 8 s": Fault(kill_broker, engines=("redis", "rabbitmq", "dask")),
    "PostgreSQL stopped 14 s": Fault(stop_database),
    "file store away 10 s": Fault(shut_store, files="s3"),
    "message delivered again": Fault(send_again),
}


def main() -> None:
    """Make the faults, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="*", default=["workers", "redis", "rabbitmq", "dask"])
    parser.add_argument("--faults", nargs="*", default=[*FAULTS, *OTHERS])
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    wrong = 0
    for engine in options.engines:
        for files in ("folder", "s3"):
            wanted = [name for name in options.faults if _fits(name, engine, files)]
            if not wanted:
                continue
            with deployed(engine, files) as made:
                for name in wanted:
                    wrong += _row(made, name, options.repeats)
    sys.exit(int(wrong > 0))


def _fits(name: str, engine: str, files: str) -> bool:
    if name in OTHERS:
        return files == "folder"
    return engine in FAULTS[name].engines and files == FAULTS[name].files


def _row(deployed: Deployment, name: str, repeats: int) -> int:
    from flowtoy_dagster.errors import RunInterrupted

    ends: list[End | str] = []
    for _ in range(repeats):
        deployed.workers = [each for each in deployed.workers if each.is_running()]
        try:
            found = OTHERS[name](deployed) if name in OTHERS else _one(deployed, FAULTS[name])
        except RunInterrupted:
            raise
        except Exception as error:  # noqa: BLE001 - the row says so
            traceback.print_exc()
            found = f"{type(error).__name__}: {error}"
        ends.append(found)
    good = [end for end in ends if isinstance(end, End)]
    seconds = [end.seconds for end in good]
    kinds = Counter(
        f"{end.state}, attempts {end.attempts}, calls {'/'.join(map(str, end.calls))}"
        if isinstance(end, End) else end for end in ends
    )
    span = f"{min(seconds):.1f} to {max(seconds):.1f} s" if seconds else "-"
    listed = "; ".join(f"{count} x {kind}" for kind, count in kinds.most_common())
    print(f"{deployed.engine:9} {name:26} {span:18} {listed}", flush=True)
    expected = None if name in OTHERS else FAULTS[name].calls
    return sum(not _is_right(end, expected) for end in ends)


def _is_right(end: End | str, expected: int | None) -> bool:
    if isinstance(end, str) or end.state != "succeeded":
        return False
    count = expected or end.attempts
    return end.attempts == count and end.calls == (1, count, 1)


def _one(deployed: Deployment, fault: Fault) -> End:
    from flowtoy_dagster import run_flow

    deployed.counted.begin(fault.held)
    runs: list[str] = []
    made_at: list[float] = []

    def make() -> None:
        deployed.counted.reached.wait()
        made_at.append(time.monotonic())
        fault.make(deployed, runs[0])

    thread = threading.Thread(target=make)
    thread.start()
    done = run_flow(_flow(deployed), on_created=runs.append)
    ended_at = time.monotonic()
    thread.join()
    deployed.counted.go.set()
    step = done.status.steps["slow"]
    if not done.success:
        print([(name, each.error) for name, each in done.status.steps.items()])
    return End(done.status.state, step.attempt or 0, _calls(deployed), ended_at - made_at[0])


def _calls(deployed: Deployment) -> tuple[int, int, int]:
    counts = deployed.counted.calls
    return counts["/before"], counts["/slow"], counts["/after"]


def _flow(deployed: Deployment, prefix: str = "", **options: Any) -> Path:
    base = f"http://127.0.0.1:{deployed.counted.port}{prefix}"
    more = {"slow": {"retry": {"max": 2, "delay": 0, "on": "crash"}}}
    names = ("before", "slow", "after")
    steps = [
        {"name": name, "source": {"type": "rest", "method": "GET", "url": f"{base}/{name}",
                                  "timeout": 900},
         **({"depends_on": names[index - 1]} if index else {}), **more.get(name, {})}
        for index, name in enumerate(names)
    ]
    path = deployed.folder / f"flow{prefix.replace('/', '-')}.yaml"
    runner = {"executor": deployed.executor, **options}
    path.write_text(yaml.safe_dump({"flow": steps, "runner": runner}), encoding="utf-8")
    return path


def _send(deployed: Deployment, run_id: str) -> None:
    from flowtoy_dagster.engine.executors.brokers.deployment import deployment_here
    from flowtoy_dagster.engine.executors.brokers.outbox import queue_name
    from flowtoy_dagster.engine.executors.kinds import EXECUTORS
    from flowtoy_dagster.engine.executors.remote.database import Database
    from flowtoy_dagster.engine.executors.remote.message import Message
    from flowtoy_dagster.engine.executors.remote.workers import PostgresQueue

    messages = [Message(run_id, turn) for turn in (1, 2, 3, 9)] * 3
    if deployed.broker is None:
        database = Database(deployed.variables["FLOWTOY_STORAGE"], 30)
        for message in messages:
            PostgresQueue(database, deployment_here().route).submit(message, "default")
        database.close()
        return
    kind: Any = EXECUTORS[deployed.executor]
    sender = kind.open_sender()
    queue = queue_name(deployment_here().name, "default")
    for message in messages:
        sender.send(message, queue)
    sender.close()


def _replace(deployed: Deployment, worker: Any) -> None:
    worker.wait()
    deployed.workers.remove(worker)
    deployed.start_worker()


def late_messages(deployed: Deployment) -> End:
    """Messages of a run that has ended are delivered; another run comes after them."""
    first = _one(deployed, FAULTS["none"])
    from flowtoy_dagster.runs.history import History

    with History() as history:
        run_id = history.find("last").run_id
    before = dict(deployed.counted.calls)
    _send(deployed, run_id)
    time.sleep(3)
    assert dict(deployed.counted.calls) == before, deployed.counted.calls
    return first


def nobody_listens(deployed: Deployment) -> End:
    """No worker takes steps of the queue; one comes after 12 s."""
    from flowtoy_dagster import run_flow

    deployed.counted.begin(0)
    queue = f"q{time.monotonic_ns()}"
    workers: list[Any] = []

    def start() -> None:
        time.sleep(12)
        workers.append(deployed.start_worker(queue))

    thread = threading.Thread(target=start)
    thread.start()
    began = time.monotonic()
    done = run_flow(_flow(deployed, executor_options={"queue": queue}))
    seconds = time.monotonic() - began
    thread.join()
    workers[0].terminate()
    workers[0].wait()
    step = done.status.steps["slow"]
    return End(done.status.state, step.attempt or 0, _calls(deployed), seconds)


def two_runs(deployed: Deployment) -> End:
    """Two runs of one flow at once."""
    deployed.counted.begin(1)
    command = [str(own_command()), "run", str(_flow(deployed)), "-q"]
    began = time.monotonic()
    both = [subprocess.Popen(command, env={**deployed.variables, "FLOWTOY_HOME": str(
        deployed.folder / "carrier")}) for _ in range(2)]
    codes = [each.wait() for each in both]
    assert codes == [0, 0], codes
    calls = _calls(deployed)
    assert calls == (2, 2, 2), calls
    return End("succeeded", 1, (1, 1, 1), time.monotonic() - began)


def kill_carrier(deployed: Deployment) -> End:
    """The process that carries the run is killed; `retry` goes on from it."""
    from flowtoy_dagster.runs.history import History
    from flowtoy_dagster.runs.retry import plan_retry, retry_run

    deployed.counted.begin(LONG)
    variables = {**deployed.variables, "FLOWTOY_HOME": str(deployed.folder / "carrier")}
    carrier = subprocess.Popen(
        [str(own_command()), "run", str(_flow(deployed)), "-q"], env=variables
    )
    deployed.counted.reached.wait()
    began = time.monotonic()
    carrier.kill()
    carrier.wait()
    wait_until(lambda: not deployed.callers(), "its step ends on the worker")
    seconds = time.monotonic() - began
    with History() as history:
        done = retry_run(history, plan_retry(history, history.find("last")), 4)
    assert done.status.steps["slow"].attempt == 1
    return End(done.status.state, 2, _calls(deployed), seconds)


OTHERS: dict[str, Callable[[Deployment], End]] = {
    "carrier killed, retry": kill_carrier,
    "message of an ended run": late_messages,
    "no worker for 12 s": nobody_listens,
    "two runs at once": two_runs,
}


if __name__ == "__main__":
    main()
