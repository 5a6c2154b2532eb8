"""Figures: rows of the table, medians, the memory of a tree of processes, the machine."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

STOCK = "stock Dagster"
OLD = "flowtoy 0.4.0"


@dataclass(frozen=True)
class Row:
    """A figure beside its bar.

    Attributes:
        workload: what was measured.
        against: what it is compared with; empty where it is a figure of its own.
        ours: our figure, with its unit.
        theirs: the other's figure; empty where there is none.
        figure: what must not be more than the bar.
        bar: the most that it may be.
        unit: of `figure` and `bar`; empty for ratios.
        note: what else a reader must know.
    """

    workload: str
    against: str
    ours: str
    theirs: str
    figure: float
    bar: float
    unit: str = ""
    note: str = ""

    @property
    def reached(self) -> bool:
        """Whether the bar is reached."""
        return self.figure <= self.bar

    def cells(self) -> list[str]:
        """The columns of the table."""
        unit = f" {self.unit}" if self.unit else ""
        return [
            self.workload, self.against, self.ours, self.theirs,
            f"{self.figure:.3g}{unit}", f"<= {self.bar:g}{unit}",
            "reached" if self.reached else "MISSED", self.note,
        ]


HEADER = ["workload", "against", "flowtoy-dagster", "other", "figure", "bar", "", "note"]


def ratio(workload: str, against: str, ours: Sequence[float], theirs: Sequence[float],
          bar: float, note: str = "") -> Row:
    """The row of two times: the ratio of their medians."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    return Row(workload, against, span(ours), span(theirs), mine / other, bar, note=note)


def span(times: Sequence[float]) -> str:
    """The median of some times, and how many they were."""
    return f"{seconds(statistics.median(times))} (n={len(times)})"


def seconds(value: float) -> str:
    """A time in seconds as text, with three digits."""
    return f"{value:.3f} s" if value < 1 else f"{value:.3g} s" if value < 100 else f"{value:.0f} s"


def alternate(ways: Sequence[Callable[[], float]], repeats: int) -> list[list[float]]:
    """Measure several ways in turn, so that what else the machine does hits all of them."""
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for way, own in zip(ways, times, strict=True):
            own.append(way())
    return times


def descendants(pid: int) -> list[int]:
    """A process and all that it has started, and those have started."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                # The parent is the second field after the command, which may hold anything.
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            children.setdefault(int(fields[1]), []).append(int(entry))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def command_of(pid: int) -> str:
    """The name of a process's program; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def proportional_memory(pids: Sequence[int]) -> float:
    """Megabytes of some processes; what several share counts once."""
    kilobytes = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue  # it has ended
        kilobytes += sum(int(line.split()[1]) for line in text.splitlines()
                         if line.startswith("Pss:"))
    return kilobytes * 1024 / 1e6


def machine() -> dict[str, str]:
    """What the figures depend on."""
    return {
        "machine": platform.node(),
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "dagster": version("dagster"),
        "flowtoy-dagster": version("flowtoy-dagster"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")),
                platform.machine())
