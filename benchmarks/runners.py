"""The three ways to run a flow: flowtoy-dagster, stock Dagster, flowtoy 0.4.0."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path

from workloads import Workload

OLD_VERSION = "0.4.0"
LONGEST_RUN = 3600.0
STOCK_JOBS = Path(__file__).with_name("stock_jobs.py")
_NOT_INHERITED = ("DAGSTER_HOME", "FLOWTOY_HOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV")


class BenchmarkError(Exception):
    """What was to be measured did not do its work."""


class FlowtoyCommand:
    """A `flowtoy` command, of this project or of flowtoy 0.4.0: both take the same options.

    Args:
        program: the command.
        home: its home folder; 0.4.0 keeps nothing.
    """

    def __init__(self, program: Path, home: Path | None = None) -> None:
        self.program = program
        self.environment = environment()
        if home is not None:
            self.environment["FLOWTOY_HOME"] = str(home)

    def arguments(self, workload: Workload, file: Path) -> list[str]:
        """The command line that runs a flow and prints its outputs as JSON."""
        limit = [] if workload.workers is None else ["--max-workers", str(workload.workers)]
        return [str(self.program), "run", str(file), "-j", *limit]

    def run(self, workload: Workload, file: Path) -> float:
        """Run a flow; gives the seconds that it took.

        Raises:
            BenchmarkError: not every step succeeded.
        """
        seconds, printed = timed(self.arguments(workload, file), self.environment)
        # 0.4.0 exits with 0 when steps fail, and leaves them out.
        outputs = json.loads(printed)
        done = [name for name, values in outputs.items() if values is not None]
        if len(done) != workload.steps:
            raise BenchmarkError(f"{self.program}: {len(done)} of {workload.steps} steps succeeded")
        return seconds


class StockDagster:
    """`dagster job execute`, with its own executor, event log and capture of what steps print.

    Args:
        folder: an empty folder, for a home and the runs' configuration.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        home = folder / "home"
        home.mkdir(parents=True)
        # Everything else is as it comes; a benchmark is not to call anywhere.
        (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        self.environment = {**environment(), "DAGSTER_HOME": str(home)}

    def run(self, workload: Workload, file: Path) -> float:
        """Run a flow; gives the seconds that it took.

        Raises:
            BenchmarkError: the run failed.
        """
        arguments = [sys.executable, "-m", "dagster", "job", "execute",
                     "-f", str(STOCK_JOBS), "-a", "job"]
        if workload.workers is not None:
            config = self._folder / f"{workload.name}.json"
            execution = {"config": {"max_concurrent": workload.workers}}
            config.write_text(json.dumps({"execution": execution}))
            arguments += ["-c", str(config)]
        seconds, _ = timed(arguments, {**self.environment, "BENCHMARK_FLOW": str(file)})
        return seconds


def environment() -> dict[str, str]:
    """Ours, without what would change what is measured."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return {**kept, "NO_COLOR": "1"}


def timed(arguments: Sequence[str], variables: dict[str, str]) -> tuple[float, str]:
    """Run a command; gives the seconds that it took, and its stdout.

    Args:
        arguments: the command line.
        variables: its environment.

    Raises:
        BenchmarkError: it exited with another code than 0.
    """
    start = time.perf_counter()
    done = subprocess.run(
        arguments, env=variables, capture_output=True, text=True, timeout=LONGEST_RUN,
        stdin=subprocess.DEVNULL, check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).splitlines()[-15:])
        raise BenchmarkError(f"{' '.join(arguments)}\nexited with {done.returncode}:\n{last}")
    return seconds, done.stdout


@contextlib.contextmanager
def on_cores(count: int | None) -> Iterator[None]:
    """Let what is started in a block use so many cores only, where the system can say so."""
    if count is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def own_command() -> Path:
    """The `flowtoy` command of this Python's environment.

    Raises:
        BenchmarkError: there is none.
    """
    program = Path(sys.executable).with_name("flowtoy")
    if not program.exists():
        raise BenchmarkError(f"there is no {program}; install the project: pip install -e .")
    return program


def old_command(given: Path | None, cache: Path) -> Path:
    """The `flowtoy` command of flowtoy 0.4.0; its virtual environment is made on first use.

    Args:
        given: a virtual environment that has it.
        cache: the folder for one of our own.

    Raises:
        BenchmarkError: the environment has another version.
    """
    folder = given or cache / f"flowtoy-{OLD_VERSION}"
    python = folder / "bin" / "python"
    if given is None and not (folder / "bin" / "flowtoy").exists():
        print(f"making {folder} with flowtoy {OLD_VERSION}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        timed([str(python), "-m", "pip", "install", "-q", f"flowtoy=={OLD_VERSION}"], environment())
    query = "from importlib.metadata import version; print(version('flowtoy'))"
    found = timed([str(python), "-c", query], environment())[1].strip()
    if found != OLD_VERSION:
        raise BenchmarkError(f"{folder} has flowtoy {found}, not {OLD_VERSION}")
    return folder / "bin" / "flowtoy"
