"""How soon a web UI is there, and the flow's first step with it: `python benchmarks/webui.py`.

Seconds from the command to the first page, and to the first step, against `dagster dev -f` of a
job in Python that does the same (which has to be started on its page as well), and against the
`webui` of flowtoy 0.4.0. Exits with 1 where the page or the step takes longer than with `dagster
dev`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from measure import machine
from runners import BenchmarkError, environment, old_command, own_command

LONGEST = 120.0
STAMP = {"type": "process",
         "configuration": {"command": ["sh", "-c", "date +%s.%N > started; sleep 1"]}}
FLOW = {"sources": {"stamp": STAMP}, "flow": [{"name": "first", "source": "stamp"}]}
JOB = """
import subprocess
import dagster as dg

@dg.op
def first():
    subprocess.run(["sh", "-c", "date +%s.%N > started; sleep 1"], check=True)

@dg.job
def flow():
    first()

defs = dg.Definitions(jobs=[flow])
"""
LAUNCH = """
mutation { launchRun(executionParams: { runConfigData: {}, selector: {
  jobName: "flow", repositoryName: "__repository__", repositoryLocationName: "job.py" } }) {
  __typename } }
"""
OWN, STOCK, OLD = "flowtoy webui", "dagster dev", "flowtoy 0.4.0 webui"


def main() -> int:
    """Measure, print, and tell whether the bars are reached."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="how often to start each")
    parser.add_argument("--flowtoy-040", type=Path,
                        help="a virtual environment with flowtoy 0.4.0; by default one is made")
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {OWN: [], STOCK: [], OLD: []}
    with tempfile.TemporaryDirectory(prefix="flowtoy-webui-") as name:
        folder = Path(name)
        old = old_command(options.flowtoy_040, folder)
        (folder / "home").mkdir()
        (folder / "flow.yaml").write_text(json.dumps(FLOW))
        (folder / "job.py").write_text(JOB)
        for _ in range(options.repeats):
            for title, command, more in ((OWN, own_command(), ["--no-token"]), (OLD, old, [])):
                arguments = [str(command), "webui", "flow.yaml", *more, "--port"]
                found[title].append(_start(arguments, folder, lambda url: None))
            dev = [sys.executable, "-m", "dagster", "dev", "-f", "job.py", "-p"]
            found[STOCK].append(_start(dev, folder, _launch))
    print(", ".join(f"{key}: {value}" for key, value in machine().items()))
    for title, times in found.items():
        page, step = (statistics.median(each) for each in zip(*times, strict=True))
        print(f"{title}: first page {page:.2f} s, first step {step:.2f} s (medians)")
    own, stock = (list(zip(*found[title], strict=True)) for title in (OWN, STOCK))
    reached = all(min(a) <= min(b) for a, b in zip(own, stock, strict=True))
    if not reached:
        print("the bar is not reached", file=sys.stderr)
    return int(not reached)


def _start(
    arguments: list[str], folder: Path, launch: Callable[[str], None]
) -> tuple[float, float]:
    """Seconds until the first page and the first step of a command that is given a port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    started = folder / "started"
    started.unlink(missing_ok=True)
    variables = {**environment(), "FLOWTOY_HOME": str(folder / "home"),
                 "DAGSTER_DISABLE_TELEMETRY": "1"}
    begin = time.time()
    with _running([*arguments, str(port)], folder, variables):
        _wait(lambda: _page(url), "the page")
        page = time.time() - begin
        launch(url)
        _wait(lambda: started.exists() and started.read_text().strip(), "the step")
        return page, float(started.read_text()) - begin


@contextlib.contextmanager
def _running(arguments: list[str], folder: Path, variables: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        arguments, cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL, start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _page(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=LONGEST) as answer:  # noqa: S310
        return bool(answer.status == 200)
    return False


def _launch(url: str) -> None:
    """Start the job as its page does, as soon as it is loaded."""

    def launched() -> bool:
        body = json.dumps({"query": LAUNCH}).encode()
        request = urllib.request.Request(  # noqa: S310
            f"{url}/graphql", body, {"Content-Type": "application/json"}
        )
        with contextlib.suppress(OSError), urllib.request.urlopen(request) as answer:  # noqa: S310
            return "LaunchRunSuccess" in answer.read().decode()
        return False

    _wait(launched, "the start of the job")


def _wait(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + LONGEST
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"waited in vain for {what}")
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
