"""Measure what a step costs where runs are kept in PostgreSQL, beside the same in SQLite.

`python benchmarks/postgres.py [--steps N] [--repeats N]`; starts a server of its own, as the tests
do, with durable writes. A step's time is the difference between a long and a short run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml
from measure import machine
from runners import environment, own_command, timed

TESTS = Path(__file__).parent.parent / "tests"
SHORT = 20
WORKERS = 2
DAGSTERS_OWN = """
storage:
  postgres:
    postgres_url: {env: BENCHMARK_DATABASE}
telemetry: {enabled: false}
"""


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=220, help="of the long run")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    sys.path[:0] = [str(TESTS), str(TESTS / "deploy" / "postgres")]
    from postgres_server import running_server

    with running_server() as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = server.create("own").replace("postgresql", "postgresql+psycopg2")
        (folder / "stock").mkdir()
        (folder / "stock" / "dagster.yaml").write_text(DAGSTERS_OWN)
        homes = {
            "SQLite": {"FLOWTOY_HOME": str(folder / "files")},
            "PostgreSQL": {"FLOWTOY_HOME": str(folder / "database"),
                           "FLOWTOY_STORAGE": server.create("kept")},
            "PostgreSQL, Dagster's own storage": {"FLOWTOY_HOME": str(folder / "stock"),
                                                  "BENCHMARK_DATABASE": own},
        }
        flows = [_flow(folder, steps) for steps in (SHORT, options.steps)]
        for variables in homes.values():
            _seconds(flows[0], variables)  # makes the home
        times = {home: [_times(flows, variables)] for home, variables in homes.items()}
        for _ in range(options.repeats - 1):
            for home, variables in homes.items():
                times[home].append(_times(flows, variables))
    _print(times, options.steps - SHORT)


def _flow(folder: Path, steps: int) -> Path:
    command = {"type": "process", "command": ["true"]}
    flow = {"flow": [{"name": f"s{number}", "source": command} for number in range(steps)]}
    path = folder / f"wide-{steps}.yaml"
    path.write_text(yaml.safe_dump(flow), encoding="utf-8")
    return path


def _times(flows: Sequence[Path], variables: dict[str, str]) -> tuple[float, ...]:
    return tuple(_seconds(flow, variables) for flow in flows)


def _seconds(flow: Path, variables: dict[str, str]) -> float:
    clean = {name: value for name, value in environment().items() if name != "FLOWTOY_STORAGE"}
    arguments = [str(own_command()), "run", str(flow), "-q", "--max-workers", str(WORKERS)]
    return timed(arguments, {**clean, **variables})[0]


def _print(times: dict[str, list[tuple[float, ...]]], steps: int) -> None:
    print("; ".join(f"{name} {value}" for name, value in machine().items()))
    print(f"PostgreSQL on the same machine, {WORKERS} workers\n")
    print(f"{'runs kept in':<36}{f'{SHORT} steps':>10}{'a step more':>14}{'of SQLite':>11}")
    base = 0.0
    for name, measured in times.items():
        short = statistics.median(first for first, _ in measured)
        step = statistics.median(last - first for first, last in measured) / steps
        base = base or step
        print(f"{name:<36}{short:>8.2f} s{step * 1000:>11.1f} ms{step / base:>11.2f}")


if __name__ == "__main__":
    main()
