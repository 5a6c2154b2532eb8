"""The flows that are measured, each valid for flowtoy-dagster and for flowtoy 0.4.0.

For both to read them, commands and URLs stand in the sources' `configuration`, and order comes
from `depends_on` alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Flow = dict[str, Any]

CHAIN = 20
LONG_STEPS = 9
JSON_BYTES = 30_000_000
DELAY = 0.2
"""Seconds that the server of the http workload takes for an answer."""


@dataclass(frozen=True)
class Places:
    """What flows refer to, and what differs from one benchmark run to the next."""

    url: str = "http://server"
    data: str = "data.json"


@dataclass(frozen=True)
class Workload:
    """A flow to be timed, and the bars that it is to reach.

    Attributes:
        name: as on the command line.
        title: as in the table.
        build: makes the flow.
        workers: `--max-workers`; None leaves each way of running its default.
        stock_bar: the most that its time may be of stock Dagster's; None: not compared.
        old_bar: the most that its time may be of flowtoy 0.4.0's.
        stock_repeats: how often stock Dagster is run at most.
        cores: how many cores all ways get; None: all.
    """

    name: str
    title: str
    build: Callable[[Places], Flow]
    workers: int | None = None
    stock_bar: float | None = None
    old_bar: float | None = None
    stock_repeats: int = 1
    cores: int | None = None

    @property
    def fingerprint(self) -> str:
        """Changes when the flow or how it is run does."""
        facts = [self.build(Places()), self.workers, self.cores, DELAY, JSON_BYTES]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]

    @property
    def steps(self) -> int:
        """How many steps the flow has."""
        return len(self.build(Places())["flow"])

    def write(self, folder: Path, places: Places) -> Path:
        """Write the flow as a file; returns its path."""
        path = folder / f"{self.name}.yaml"
        path.write_text(yaml.safe_dump(self.build(places), sort_keys=False), encoding="utf-8")
        return path


def command(*words: str) -> Flow:
    """A source that runs a command."""
    return {"type": "process", "configuration": {"command": list(words)}}


def flow(sources: Flow, steps: list[Flow]) -> Flow:
    """A whole configuration."""
    return {"sources": sources, "flow": steps}


def links(count: int) -> list[Flow]:
    """Steps that do nothing, each after the one before."""
    steps: list[Flow] = []
    for number in range(count):
        step: Flow = {"name": link(number), "source": "noop"}
        if steps:
            step["depends_on"] = [steps[-1]["name"]]
        steps.append(step)
    return steps


def link(number: int) -> str:
    """The name of a step of a chain."""
    return f"link_{number}"


def wide(count: int) -> Flow:
    """Steps that do nothing and wait for nothing."""
    steps = [{"name": f"step_{number}", "source": "noop"} for number in range(count)]
    return flow({"noop": command("true")}, steps)


def chain(count: int) -> Flow:
    """Steps that do nothing, one after another."""
    return flow({"noop": command("true")}, links(count))


def beside_long_steps(seconds: float) -> Flow:
    """A chain, and nine steps that sleep all the while."""
    sources = {"noop": command("true"), "sleep": command("sleep", str(seconds))}
    long = [{"name": f"long_{number}", "source": "sleep"} for number in range(LONG_STEPS)]
    return flow(sources, [*long, *links(CHAIN)])


def sleeps(count: int, seconds: float) -> Flow:
    """Steps that sleep, all at the same time."""
    steps = [{"name": f"long_{number}", "source": "sleep"} for number in range(count)]
    return flow({"sleep": command("sleep", str(seconds))}, steps)


def requests(count: int, url: str) -> Flow:
    """Requests to one server, none waiting for another."""
    source = {"type": "rest", "configuration": {"url": url}}
    steps = [{"name": f"request_{number}", "source": "server"} for number in range(count)]
    return flow({"server": source}, steps)


def queries(count: int, data: str) -> Flow:
    """Steps that read a large JSON text from a command and query it."""
    output = [
        {"name": name, "type": "jmespath", "value": value}
        for name, value in (
            ("rows", "length(json.rows)"),
            ("open", "length(json.rows[?state == 'open'])"),
            ("total", "sum(json.rows[*].amount)"),
        )
    ]
    steps = [
        {"name": f"query_{number}", "source": "data", "output": output}
        for number in range(count)
    ]
    # The same list in each step; JSON makes copies, so that YAML has no anchors.
    copied: list[Flow] = json.loads(json.dumps(steps))
    return flow({"data": command("cat", data)}, copied)


def write_data(path: Path) -> None:
    """Write the JSON file of the cpu workload."""
    rows: list[Flow] = []
    size = 0
    while size < JSON_BYTES:
        number = len(rows)
        row = {
            "id": number,
            "name": f"customer number {number % 977}",
            "state": ("open", "closed", "held")[number % 3],
            "amount": number % 1000 + 0.25,
            "address": {"city": f"city {number % 53}", "zip": f"{number % 99999:05d}"},
        }
        size += len(json.dumps(row)) + 2
        rows.append(row)
    path.write_text(json.dumps({"rows": rows}), encoding="utf-8")


WORKLOADS = (
    Workload("hello", "hello: 1 step", lambda _: wide(1),
             stock_bar=0.35, old_bar=1.4, stock_repeats=5),
    Workload("wide", "wide: 100 no-op processes, 4 workers", lambda _: wide(100), 4,
             stock_bar=0.03, old_bar=1.9),
    Workload("chain", f"chain: {CHAIN} no-op processes", lambda _: chain(CHAIN),
             stock_bar=0.08, old_bar=1.6, stock_repeats=3),
    Workload("http", "http: 20 requests of 200 ms, 10 workers",
             lambda places: requests(20, places.url), 10,
             stock_bar=0.10, old_bar=1.4, stock_repeats=3),
    Workload("mixed", f"mixed: 9 sleeps of 6 s beside a chain of {CHAIN}, 10 workers",
             lambda _: beside_long_steps(6), 10, stock_bar=0.25, old_bar=1.06),
    Workload("wide-1000", "wide: 1,000 no-op processes, 4 workers", lambda _: wide(1000), 4,
             old_bar=3.0),
    Workload("cpu", "cpu: 4 steps that parse and query 30 MB of JSON each, 2 cores",
             lambda places: queries(4, places.data), old_bar=0.55, cores=2),
)
