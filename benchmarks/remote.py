"""Measure what a step costs on other machines' workers, beside the executor `warm`.

`python benchmarks/remote.py [--steps N] [--repeats N]`; starts servers of its own, as the tests do,
and two workers with one slot each. The overhead is the span of the steps, times the slots, divided
by the steps, less the time that a step takes by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from measure import machine
from runners import environment, own_command

TESTS = Path(__file__).parent.parent / "tests"
SLOTS = 2
FLOWS = {"true": (["true"], 0.0), "0.2 s": (["sleep", "0.2"], 0.2)}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    brokers = TESTS / "deploy" / "postgres" / "workers" / "brokers"
    sys.path[:0] = [str(TESTS), str(TESTS / "deploy" / "postgres"), str(brokers)]
    from broker_servers import running_broker
    from postgres_server import running_server

    print("; ".join(f"{name} {value}" for name, value in machine().items()))
    print(f"{options.steps} steps, {SLOTS} at once, history in PostgreSQL, ms of overhead a step\n")
    print(f"{'executor':<18}" + "".join(f"{name:>12}" for name in FLOWS) + f"{'a hop':>12}")
    with running_server() as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "files").mkdir()
        own = {"FLOWTOY_STORAGE": server.create("runs"), "FLOWTOY_FILES": str(folder / "files")}
        variables = {**environment(), **own, "FLOWTOY_HOME": str(folder / "carrier")}
        with _workers(folder, variables, "workers"):
            _row("warm", folder, variables, "warm", options)
            _row("workers", folder, variables, "workers", options)
        for engine in ("redis", "rabbitmq", "dask"):
            with running_broker(engine) as broker:
                all_variables = {**variables, **broker.variables}
                with _workers(folder, all_variables, broker.executor):
                    title = "dask" if engine == "dask" else f"{broker.executor}, {engine}"
                    _row(title, folder, all_variables, broker.executor, options)


def _row(
    title: str, folder: Path, variables: dict[str, str], executor: str, options: Any
) -> None:
    cells = [_overhead(folder, variables, executor, kind, options) for kind in FLOWS]
    cells.append(_overhead(folder, variables, executor, "true", options, chain=True))
    print(f"{title:<18}" + "".join(f"{cell:>9.0f} ms" for cell in cells), flush=True)


@contextlib.contextmanager
def _workers(folder: Path, variables: dict[str, str], executor: str) -> Iterator[None]:
    log = folder / "workers.log"
    with open(log, "wb") as file, contextlib.ExitStack() as stack:
        for number in range(SLOTS):
            home = {"FLOWTOY_HOME": str(folder / f"worker{number}")}
            process = subprocess.Popen(
                [str(own_command()), "worker", "--executor", executor],
                env={**variables, **home}, stderr=file,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        while log.read_text().count("takes up to") < SLOTS:
            time.sleep(0.1)
        yield


def _overhead(
    folder: Path, variables: dict[str, str], executor: str, kind: str, options: Any,
    *, chain: bool = False,
) -> float:
    """The median overhead of a step, in ms."""
    command, own = FLOWS[kind]
    steps: list[dict[str, Any]] = [
        {"name": f"s{number}", "source": {"type": "process", "command": command},
         **({"depends_on": f"s{number - 1}"} if chain and number else {})}
        for number in range(options.steps)
    ]
    path = folder / "flow.yaml"
    path.write_text(yaml.safe_dump({"flow": steps}), encoding="utf-8")
    flowtoy = str(own_command())
    run = [flowtoy, "run", str(path), "-q", "--executor", executor, "--max-workers", str(SLOTS)]
    found = []
    for _ in range(options.repeats):
        subprocess.run(run, env=variables, check=True, stderr=subprocess.DEVNULL)
        shown = subprocess.run(
            [flowtoy, "runs", "show", "last", "--json"], env=variables, check=True,
            stdout=subprocess.PIPE,
        )
        facts = json.loads(shown.stdout)["steps"].values()
        span = max(_time(f["ended_at"]) for f in facts) - min(_time(f["started_at"]) for f in facts)
        found.append(span * (1 if chain else SLOTS) / len(steps) - own)
    return statistics.median(found) * 1000


def _time(text: Any) -> float:
    if isinstance(text, (int, float)):
        return float(text)
    from datetime import datetime

    return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()


if __name__ == "__main__":
    main()
