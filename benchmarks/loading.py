"""How long a code location of many flows takes to load: `python benchmarks/loading.py`.

Exits with 1 where the bar is not reached. What Dagster makes of the definitions afterwards, for
its pages, is measured too, but it is Dagster's: the same for jobs that were written in Python.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from measure import machine

FLOWS, STEPS = 200, 10
BAR = 5.0
"""Seconds."""
# In a process of its own, as a code server is.
LOAD = """
import json, time
from flowtoy_dagster.definitions import flow_repository
from dagster._core.remote_representation.external_data import RepositorySnap
started = time.perf_counter()
repository = flow_repository()
repository.validate_loadable()
loaded = time.perf_counter()
RepositorySnap.from_def(repository, defer_snapshots=True)
print(json.dumps([len(repository.job_names), loaded - started, time.perf_counter() - loaded]))
"""


def main() -> int:
    """Measure, print, and tell whether the bar is reached."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5, help="how often to load")
    repeats: int = parser.parse_args().repeat
    with tempfile.TemporaryDirectory(prefix="flowtoy-loading-") as name:
        folder = Path(name)
        (folder / "flows").mkdir()
        for number in range(FLOWS):
            path = folder / "flows" / f"flow_{number}.yaml"
            path.write_text(yaml.safe_dump(_flow(number), sort_keys=False), encoding="utf-8")
        times = [_load(folder, f"home-{number}") for number in range(repeats)]
    load, snapshots = (statistics.median(each) for each in zip(*times, strict=True))
    print(", ".join(f"{key}: {value}" for key, value in machine().items()))
    print(f"load {FLOWS} flows of {STEPS} steps: {load:.2f} s (bar: {BAR:g} s)")
    print(f"Dagster's snapshots of them: {snapshots:.2f} s")
    if load > BAR:
        print("the bar is not reached", file=sys.stderr)
    return int(load > BAR)


def _load(folder: Path, home: str) -> tuple[float, float]:
    """Seconds for loading, and for Dagster's snapshots, in a new process with a new home."""
    places = {"DAGSTER_HOME": str(folder / home), "FLOWTOY_PATH": str(folder / "flows")}
    done = subprocess.run(
        [sys.executable, "-c", LOAD], capture_output=True, text=True, check=True,
        env={**os.environ, **places},
    )
    count, load, snapshots = json.loads(done.stdout)
    assert count == FLOWS
    return load, snapshots


def _flow(number: int) -> dict[str, object]:
    """A chain of steps, each with a template and an output."""
    steps = []
    for index in range(STEPS):
        words = [f"{{{{ flows.step_{index - 1}.text }}}}"] if index else ["start"]
        steps.append({
            "name": f"step_{index}",
            "source": "process",
            "input": {"command": ["echo", f"{number}", *words]},
            "output": [{"name": "text", "type": "jmespath", "value": "stdout"}],
        })
    return {"name": f"flow {number}", "description": "Many of them.", "flow": steps}


if __name__ == "__main__":
    sys.exit(main())
