"""What is measured of flowtoy-dagster alone: growth, memory, short answers, responsiveness."""

from __future__ import annotations

import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path

import workloads
from measure import (
    Row,
    alternate,
    command_of,
    descendants,
    proportional_memory,
    ratio,
    seconds,
)
from runners import BenchmarkError, FlowtoyCommand, environment, timed
from workloads import Flow, Places, Workload, link

SMALL, LARGE = 200, 2000
WORKERS = 10
SAMPLE = 0.2
"""Seconds between two looks at the memory."""


class Checks:
    """The measurements.

    Args:
        program: the `flowtoy` command.
        folder: for flows and homes.
        repeats: how often each is done.
        quick: whether the long steps may be shorter.
    """

    def __init__(self, program: Path, folder: Path, repeats: int, *, quick: bool) -> None:
        self._program = program
        self._folder = folder
        self._repeats = repeats
        self._quick = quick
        self._home = folder / "home"
        self._flowtoy = FlowtoyCommand(program, self._home)

    def growth_wide(self) -> Iterator[Row]:
        """Whether a step costs more in a larger flow of independent steps."""
        yield self._growth("wide", workloads.wide, 4)

    def growth_chain(self) -> Iterator[Row]:
        """Whether a step costs more in a longer chain."""
        yield self._growth("chain", workloads.chain, None)

    def _growth(self, shape: str, build: Callable[[int], Flow], workers: int | None) -> Row:
        """The time of a step beyond the first, in a large flow to that in a small one."""

        def sized(count: int) -> Workload:
            return Workload(f"{shape}-{count}", "", lambda _: build(count), workers)

        # Short runs differ more from one to the next: there are four around each long one.
        sizes = (1, SMALL, SMALL, LARGE, SMALL, SMALL)
        ways = [partial(self._run, sized(count)) for count in sizes]
        alone, first, second, large, third, fourth = alternate(ways, min(3, self._repeats))
        small = [*first, *second, *third, *fourth]
        start, few, many = map(statistics.median, (alone, small, large))
        mine, other = (many - start) / (LARGE - 1), (few - start) / (SMALL - 1)
        return Row(
            f"growth: a step of {LARGE:,} and of {SMALL}, {shape}", "itself",
            f"{mine * 1000:.1f} ms", f"{other * 1000:.1f} ms", mine / other, 1.15,
            note=f"less start-up; runs of {seconds(many)} and {seconds(few)}",
        )

    def memory(self) -> Iterator[Row]:
        """The most memory that a run's processes have while ten steps run."""
        workload = Workload("memory", "", lambda _: workloads.sleeps(WORKERS, 4), WORKERS)
        file = workload.write(self._folder, Places())
        peaks = [max(self._samples(workload, file)) for _ in range(min(3, self._repeats))]
        peak = max(peaks)
        yield Row(f"memory: `run` with {WORKERS} workers, {WORKERS} steps running", "",
                  f"{peak:.0f} MB", "", peak, 350, "MB",
                  "proportional set size, summed over its processes")

    def _samples(self, workload: Workload, file: Path) -> list[float]:
        found = []
        arguments = self._flowtoy.arguments(workload, file)
        with subprocess.Popen(
            arguments, env=self._flowtoy.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None:
                pids = descendants(process.pid)
                if sum(command_of(pid) == "sleep" for pid in pids) == WORKERS:
                    found.append(proportional_memory(pids))
                time.sleep(SAMPLE)
        if process.returncode or not found:
            raise BenchmarkError(f"{WORKERS} steps were never seen running; try a quieter machine")
        return found

    def answers(self) -> Iterator[Row]:
        """How long help and a check take, against importing Dagster."""
        file = Workload("checked", "", lambda _: workloads.wide(10)).write(self._folder, Places())
        program, variables = str(self._program), self._flowtoy.environment
        importing = [sys.executable, "-c", "import dagster"]
        help_times, check_times, import_times = alternate(
            [
                lambda: timed([program, "--help"], variables)[0],
                lambda: timed([program, "validate", str(file)], variables)[0],
                lambda: timed(importing, environment())[0],
            ],
            2 * self._repeats + 1,
        )
        against = "import dagster"
        yield ratio("answers: `flowtoy --help`", against, help_times, import_times, 0.25)
        yield ratio("answers: `flowtoy validate` of 10 steps", against, check_times, import_times,
                    0.25)

    def responsiveness(self) -> Iterator[Row]:
        """How long a chain waits from hop to hop beside nine long steps."""
        length = 6 if self._quick else 30
        home = self._folder / "responsiveness"
        workload = Workload("responsiveness", "",
                            lambda _: workloads.beside_long_steps(length), WORKERS)
        file = workload.write(self._folder, Places())
        flowtoy = FlowtoyCommand(self._program, home)
        for _ in range(min(2, self._repeats)):
            flowtoy.run(workload, file)
        pauses = [pause for log in event_logs(home) for pause in hops(log)]
        worst, usual = max(pauses), statistics.median(pauses)
        yield Row(f"responsiveness: a hop beside nine steps of {length} s", "",
                  f"{seconds(worst)} at most", "", worst, 0.1, "s",
                  f"from an end to the next start, {len(pauses)} hops; median {seconds(usual)}")

    def _run(self, workload: Workload) -> float:
        return self._flowtoy.run(workload, workload.write(self._folder, Places()))


def event_logs(home: Path) -> list[Path]:
    """The event logs of a home's runs."""
    runs = (home / "history" / "runs").glob("*.db")
    return [path for path in runs if path.name != "index.db"]


def hops(log: Path) -> list[float]:
    """Seconds from the end of each step of the chain to the start of the next."""
    query = ("SELECT step_key, dagster_event_type, timestamp FROM event_logs"
             " WHERE dagster_event_type IN ('STEP_START', 'STEP_SUCCESS')")
    with closing(sqlite3.connect(log)) as connection:
        found = {(key, kind): datetime.fromisoformat(at)
                 for key, kind, at in connection.execute(query)}
    return [
        (found[link(number + 1), "STEP_START"] - found[link(number), "STEP_SUCCESS"])
        .total_seconds()
        for number in range(workloads.CHAIN - 1)
    ]
