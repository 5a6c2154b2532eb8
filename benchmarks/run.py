"""Measure flowtoy-dagster against stock Dagster and flowtoy 0.4.0, and compare with the bars.

`python benchmarks/run.py [--quick] [WORKLOAD ...]`; exits with 1 where a bar is not reached.
Everything is measured on one machine in one go, because only the ratios mean anything elsewhere.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import platformdirs
from checks import Checks
from measure import HEADER, OLD, STOCK, Row, alternate, machine, ratio
from runners import (
    BenchmarkError,
    FlowtoyCommand,
    StockDagster,
    old_command,
    on_cores,
    own_command,
)
from server import slow_server
from stock_cache import StockCache
from workloads import DELAY, WORKLOADS, Places, Workload, write_data

CHECKS = ("growth-wide", "growth-chain", "memory", "answers", "responsiveness")
NAMES = (*(workload.name for workload in WORKLOADS), *CHECKS)
REPEATS = 5


def main() -> int:
    """Measure, print the table, and tell whether every bar is reached."""
    options = _options()
    chosen = options.workloads or NAMES
    with tempfile.TemporaryDirectory(prefix="flowtoy-benchmark-") as name:
        folder = Path(name)
        try:
            rows = list(_measured(_Bench(options, folder), chosen))
        except BenchmarkError as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
    print(_facts())
    print()
    for line in _markdown(rows) if options.markdown else _table(rows):
        print(line)
    missed = [row.workload for row in rows if not row.reached]
    if missed:
        print(f"\n{len(missed)} of {len(rows)} bars are not reached", file=sys.stderr)
    return 1 if missed else 0


class _Bench:
    """Times the workloads; what all of them share.

    Args:
        options: of the command line.
        folder: an empty folder for flows and homes.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.repeats: int = options.repeat or (1 if options.quick else REPEATS)
        self.folder = folder
        self._cache: Path = options.cache
        self._given_old: Path | None = options.flowtoy_040
        self._kept = StockCache(self._cache / "stock.json", fresh=options.fresh)
        self._program = own_command()
        self._own = FlowtoyCommand(self._program, folder / "home")
        self._stock: StockDagster | None = None
        self.checks = Checks(self._program, folder, self.repeats, quick=options.quick)

    def rows(self, workload: Workload) -> Iterator[Row]:
        """A workload's time against stock Dagster's and against flowtoy 0.4.0's."""
        data = self.folder / "data.json"
        if workload.name == "cpu" and not data.exists():
            write_data(data)
        with slow_server(DELAY) as url, on_cores(workload.cores):
            file = workload.write(self.folder, Places(url, str(data)))
            ways = [self._own]
            if workload.old_bar is not None:
                ways.append(FlowtoyCommand(old_command(self._given_old, self._cache)))
            for way in ways:
                way.run(workload, file)  # not counted: files are read, a home is made
            own, *old = alternate(
                [partial(way.run, workload, file) for way in ways], self.repeats
            )
            if workload.stock_bar is not None:
                times, note = self._stock_times(workload, file)
                yield ratio(workload.title, STOCK, own, times, workload.stock_bar, note)
            if workload.old_bar is not None:
                yield ratio(workload.title, OLD, own, old[0], workload.old_bar)

    def _stock_times(self, workload: Workload, file: Path) -> tuple[list[float], str]:
        repeats = min(self.repeats, workload.stock_repeats)
        kept = self._kept.get(workload, repeats)
        if kept is not None:
            times, day = kept
            return times, f"stock measured {day} and kept; --fresh measures again"
        stock = self._stock_with_home()
        times = [stock.run(workload, file) for _ in range(repeats)]
        self._kept.put(workload, times)
        return times, ""

    def _stock_with_home(self) -> StockDagster:
        if self._stock is None:
            self._stock = StockDagster(self.folder / "stock")
            hello = WORKLOADS[0]
            # Not counted: the first run makes the home's databases.
            self._stock.run(hello, hello.write(self.folder / "stock", Places()))
        return self._stock


def _measured(bench: _Bench, chosen: Sequence[str]) -> Iterator[Row]:
    for workload in WORKLOADS:
        if workload.name in chosen:
            yield from _shown(workload.name, bench.rows(workload))
    for name in CHECKS:
        if name in chosen:
            yield from _shown(name, getattr(bench.checks, name.replace("-", "_"))())


def _shown(name: str, rows: Iterable[Row]) -> Iterator[Row]:
    """Tell on stderr what is going on: all of it takes long."""
    print(f"{name} ...", end="", flush=True, file=sys.stderr)
    for row in rows:
        print(f" {row.cells()[4]}", end="", flush=True, file=sys.stderr)
        yield row
    print(file=sys.stderr)


def _facts() -> str:
    return ", ".join(f"{name} {value}" for name, value in machine().items() if name != "machine")


def _table(rows: Sequence[Row]) -> Iterator[str]:
    lines = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _markdown(rows: Sequence[Row]) -> Iterator[str]:
    lines = [HEADER, ["---"] * len(HEADER), *(row.cells() for row in rows)]
    for line in lines:
        yield f"| {' | '.join(line)} |".replace("|  |", "| |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD",
                        help=f"what to measure; all by default: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true",
                        help="once instead of five times, with shorter waits: to try it out")
    parser.add_argument("--repeat", type=int, metavar="N", help="how often each is measured")
    parser.add_argument("--fresh", action="store_true",
                        help="measure stock Dagster again, whose times are kept")
    parser.add_argument("--markdown", action="store_true",
                        help="print the table for docs/explanation/performance.md")
    parser.add_argument("--flowtoy-040", type=Path, metavar="PATH",
                        help="a virtual environment with flowtoy 0.4.0; by default one is made")
    parser.add_argument("--cache", type=Path, metavar="PATH",
                        default=platformdirs.user_cache_path("flowtoy-benchmarks"),
                        help="where stock Dagster's times and that environment are kept")
    options = parser.parse_args()
    unknown = set(options.workloads) - set(NAMES)
    if unknown:
        parser.error(f"there is no workload '{min(unknown)}'; there are {', '.join(NAMES)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
