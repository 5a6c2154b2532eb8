"""What commands import, and what that costs: `python benchmarks/imports.py`.

Python tells what it imports (`-X importtime`). Each command has a budget: the most modules of each
package, the most time of each package as a part of Dagster's own, and packages that it never
imports. Exits with 1 where a budget is exceeded, so that growth is noticed when it comes.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from measure import machine

HELLO = "flow:\n  - {name: hello, source: env}\n"
LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)")
UNUSED = (
    "alembic", "structlog", "requests", "dagster_webserver", "dagster_graphql", "uvicorn",
    "starlette", "textual", "rich", "celery", "distributed",
)
"""What a run of processes on one machine has no use for."""


@dataclass(frozen=True)
class Budget:
    """What a command may import.

    Attributes:
        modules: the most modules of a package, by package.
        never: packages of which it imports none.
        shares: the most time of a package, as a part of the time of Dagster's own modules.
    """

    command: tuple[str, ...]
    modules: Mapping[str, int]
    never: tuple[str, ...]
    shares: Mapping[str, float] = field(default_factory=dict)


BUDGETS = (
    Budget(("--help",), {"flowtoy_dagster": 32}, ("dagster", "sqlalchemy", "pydantic", "jinja2")),
    Budget(("validate", "flow.yaml"), {"flowtoy_dagster": 122, "pydantic": 45, "jinja2": 22},
           ("dagster", "sqlalchemy", "requests", "rich")),
    Budget(("run", "flow.yaml"), {"flowtoy_dagster": 325, "dagster": 565, "sqlalchemy": 100},
           UNUSED, {"flowtoy_dagster": 0.45, "sqlalchemy": 0.4}),
)


def main() -> int:
    """Measure, print, and tell whether the budgets are kept."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5, help="of which the fastest is taken")
    repeats = parser.parse_args().repeat
    print(", ".join(f"{key}: {value}" for key, value in machine().items()))
    exceeded = 0
    with tempfile.TemporaryDirectory(prefix="flowtoy-imports-") as name:
        folder = Path(name)
        (folder / "flow.yaml").write_text(HELLO, encoding="utf-8")
        _imports(("run", "flow.yaml"), folder)  # the first run of a home makes its databases
        for budget in BUDGETS:
            times = _fastest([_imports(budget.command, folder) for _ in range(repeats)])
            exceeded += _judge(budget, times)
    return int(exceeded > 0)


def _imports(command: tuple[str, ...], folder: Path) -> dict[str, int]:
    """Microseconds for each module that a command imports, without what that imports itself."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "flowtoy_dagster", *command],
        cwd=folder, env={**os.environ, "FLOWTOY_HOME": str(folder / "home")},
        capture_output=True, text=True, check=True,
    )
    return {found[2]: int(found[1]) for found in map(LINE.match, done.stderr.splitlines()) if found}


def _fastest(runs: list[dict[str, int]]) -> dict[str, dict[str, int]]:
    """The least time of each module, by package."""
    packages: dict[str, dict[str, int]] = defaultdict(dict)
    for module in set().union(*runs):
        least = min(run[module] for run in runs if module in run)
        packages[module.partition(".")[0]][module] = least
    return packages


def _judge(budget: Budget, packages: Mapping[str, Mapping[str, int]]) -> int:
    """Print the packages that take most, and what exceeds the budget; gives how much does."""
    times = {package: sum(found.values()) / 1e6 for package, found in packages.items()}
    print(f"\nflowtoy {' '.join(budget.command)}: {sum(times.values()):.3f} s")
    for package in sorted(times, key=lambda name: -times[name])[:8]:
        count = len(packages[package])
        print(f"  {package:<20} {times[package]:.3f} s, {count} module{'s' if count > 1 else ''}")
    faults = [
        f"{package}: {len(packages.get(package, ()))} modules, not more than {most} are due"
        for package, most in budget.modules.items() if len(packages.get(package, ())) > most
    ]
    faults += [f"{package} is imported" for package in budget.never if package in packages]
    for package, most in budget.shares.items():
        share = times[package] / times["dagster"]
        print(f"  {package} takes {share:.2f} of Dagster's time, the budget is {most:g}")
        if share > most:
            faults.append(f"{package} takes {share:.2f} of Dagster's time")
    for fault in faults:
        print(f"  EXCEEDED: {fault}")
    return len(faults)


if __name__ == "__main__":
    sys.exit(main())
