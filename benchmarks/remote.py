"""Measure what a step costs on other machines' workers, beside the executor `warm`.

`python benchmarks/remote.py [--steps N] [--repeats N] [--stock PYTHON]`; starts servers of its own,
as the tests do, and two workers with one slot each. The overhead is the span of the steps, times
the slots, divided by the steps, less the time that a step takes by itself. A Python for stock
dagster-celery is made by `uv venv F && uv pip install --python F/bin/python dagster
dagster-celery dagster-postgres redis`, with the versions of Dagster that flowtoy uses.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
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
    parser.add_argument("--stock", type=Path, help="a Python that has dagster-celery")
    parser.add_argument(
        "--engines", nargs="*", default=["warm", "workers", "redis", "rabbitmq", "dask"]
    )
    options = parser.parse_args()
    brokers = TESTS / "deploy" / "postgres" / "workers" / "brokers"
    sys.path[:0] = [str(TESTS), str(TESTS / "deploy" / "postgres"), str(brokers)]
    from broker_servers import running_broker
    from postgres_server import running_server

    print("; ".join(f"{name} {value}" for name, value in machine().items()))
    print(f"{options.steps} steps, {SLOTS} at once, history in PostgreSQL, ms of overhead a step\n")
    print(f"{'executor':<24}" + "".join(f"{name:>12}" for name in FLOWS) + f"{'a hop':>12}")
    with running_server() as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "files").mkdir()
        own = {"FLOWTOY_STORAGE": server.create("runs"), "FLOWTOY_FILES": str(folder / "files")}
        variables = {**environment(), **own, "FLOWTOY_HOME": str(folder / "carrier")}
        with _workers(folder, variables, "workers"):
            for engine in ("warm", "workers"):
                if engine in options.engines:
                    _row(engine, folder, variables, engine, options)
        for engine in options.engines:
            if engine in ("warm", "workers"):
                continue
            with running_broker(engine) as broker:
                all_variables = {**variables, **broker.variables}
                with _workers(folder, all_variables, broker.executor):
                    title = "dask" if engine == "dask" else f"{broker.executor}, {engine}"
                    _row(title, folder, all_variables, broker.executor, options)
                if options.stock and broker.executor == "celery":
                    stock = Stock(options.stock, folder, broker.variables["FLOWTOY_BROKER"],
                                  server.create(f"stock_{engine}"))
                    with stock.workers():
                        _stock_row(f"dagster-celery, {engine}", stock, options)


def _stock_row(title: str, stock: Stock, options: Any) -> None:
    cells = [_median(stock, kind, options) for kind in FLOWS]
    cells.append(_median(stock, "true", options, chain=True))
    print(f"{title:<24}" + "".join(f"{cell:>9.0f} ms" for cell in cells), flush=True)


def _median(stock: Stock, kind: str, options: Any, *, chain: bool = False) -> float:
    command, own = FLOWS[kind]
    found = [stock.span(options.steps, command, chain=chain) for _ in range(options.repeats)]
    slots = 1 if chain else SLOTS
    return (statistics.median(found) * slots / options.steps - own) * 1000


class Stock:
    """Dagster's own executor for Celery, with two workers of one slot each.

    Args:
        python: has dagster-celery.
        folder: for a home and settings.
        broker: the broker's address.
        database: the address of an empty database.
    """

    def __init__(self, python: Path, folder: Path, broker: str, database: str) -> None:
        self._python = python
        home = folder / "stock"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        (home / "dagster.yaml").write_text(
            "storage: {postgres: {postgres_url: {env: DATABASE}}}\ntelemetry: {enabled: false}\n"
        )
        back = broker if broker.startswith("redis") else "rpc://"
        (home / "dagster_celery_config.py").write_text(
            f"broker_url = {broker!r}\nresult_backend = {back!r}\n"
        )
        self._config = home / "run.yaml"
        config = {"broker": broker, "backend": back}
        self._config.write_text(yaml.safe_dump({"execution": {"config": config}}))
        self._variables = {
            **environment(), "DAGSTER_HOME": str(home), "PYTHONPATH": str(home),
            "DATABASE": database.replace("://", "+psycopg2://", 1),
        }
        self._log = home / "workers.log"

    @contextlib.contextmanager
    def workers(self) -> Iterator[None]:
        """Its workers, while a block runs."""
        with open(self._log, "wb") as file, contextlib.ExitStack() as stack:
            for number in range(SLOTS):
                process = subprocess.Popen(
                    [str(self._python), "-m", "celery", "-A", "dagster_celery.app", "worker",
                     "-c", "1", "-Q", "dagster", "-n", f"w{number}@%h", "-l", "INFO"],
                    env=self._variables, stdout=file, stderr=file,
                )
                stack.callback(process.wait)
                stack.callback(process.terminate)
            while self._log.read_text().count(" ready.") < SLOTS:
                time.sleep(0.1)
            yield

    def span(self, steps: int, command: list[str], *, chain: bool) -> float:
        """Seconds from the start of the first step to the end of the last one."""
        # Workers keep what they have imported.
        job = self._config.with_name(f"job_{len(command)}_{int(chain)}.py")
        job.write_text(Path(__file__).with_name("stock_celery.py").read_text())
        job.with_suffix(".json").write_text(json.dumps([steps, command, chain]))
        subprocess.run(
            [str(self._python), "-m", "dagster", "job", "execute", "-f", str(job), "-a", "job",
             "-c", str(self._config)], env=self._variables, check=True, capture_output=True,
        )
        shown = subprocess.run(
            [str(self._python), str(job)], env=self._variables, check=True, stdout=subprocess.PIPE
        )
        return float(shown.stdout)


def _row(
    title: str, folder: Path, variables: dict[str, str], executor: str, options: Any
) -> None:
    cells = [_overhead(folder, variables, executor, kind, options) for kind in FLOWS]
    cells.append(_overhead(folder, variables, executor, "true", options, chain=True))
    print(f"{title:<24}" + "".join(f"{cell:>9.0f} ms" for cell in cells), flush=True)


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
