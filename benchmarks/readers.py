"""Measure what 200 readers of the status API cost the run that they read of.

`python benchmarks/readers.py [--repeats N]`; exits with 1 where a run takes more than 1.1 times as
long as one that nobody asks about. Each reader asks again as soon as it has its answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

READERS = 200
BAR = 1.1
REPEATS = 7
WARM_UP = 1
FLOWS: dict[str, Any] = {
    "wide: 150 no-op processes": [["true"]] * 150,
    "cpu: 6 steps that compute": [
        [sys.executable, "-c", "sum(i * i for i in range(6_000_000))"]
    ] * 6,
}


def main() -> int:
    """Measure, print a line for each flow, and tell whether the bar is reached."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=REPEATS)
    repeats: int = parser.parse_args().repeats
    reached = True
    with tempfile.TemporaryDirectory(prefix="flowtoy-readers-") as name:
        folder = Path(name)
        os.environ["FLOWTOY_HOME"] = str(folder / "home")
        for title, commands in FLOWS.items():
            path = folder / "flow.json"
            path.write_text(json.dumps(flow_of(commands)))
            alone, read, answers, spent = measure(path, repeats)
            # What else the machine does only adds: the least is the nearest to the truth.
            figure = min(read) / min(alone)
            reached &= figure <= BAR
            print(
                f"{title}: {min(alone):.2f} s alone,"
                f" {min(read):.2f} s with {READERS} readers"
                f" ({statistics.median(answers):.0f} answers a run, for which the server took"
                f" {statistics.median(spent):.2f} s of a processor): {figure:.3f} (<= {BAR})"
            )
    return 0 if reached else 1


def flow_of(commands: list[list[str]]) -> dict[str, Any]:
    """A flow that runs commands that don't depend on each other."""
    return {
        "flow": [
            {"name": f"s{number}", "source": "process", "input": {"command": command}}
            for number, command in enumerate(commands)
        ]
    }


def measure(
    path: Path, repeats: int
) -> tuple[list[float], list[float], list[int], list[float]]:
    """Runs alone and runs with readers, in turn.

    Returns:
        seconds of the runs alone, seconds of those with readers, the answers that readers got, and
        the processor seconds that the server took for them.
    """
    alone, read, answers, spent = [], [], [], []
    for number in range(WARM_UP + repeats):
        first = timed(path, readers=False)
        second = timed(path, readers=True)
        if number >= WARM_UP:
            alone.append(first[0])
            read.append(second[0])
            answers.append(second[1])
            spent.append(second[2])
    return alone, read, answers, spent


def timed(path: Path, *, readers: bool) -> tuple[float, int, float]:
    """Seconds from a command's start until it tells that its run has ended; answers; server's."""
    more = ["--status-port", "0", "--no-token"] if readers else []
    began = time.monotonic()
    command = subprocess.Popen(
        [sys.executable, "-m", "flowtoy_dagster", "run", str(path), "-q", "--max-workers", "4",
         *more],
        stderr=subprocess.PIPE, text=True,
    )
    asking = None
    taken = 0.0
    assert command.stderr is not None
    for line in command.stderr:
        found = re.match(r"status at (\S+)", line)
        if found:
            asking = ask_from_elsewhere(found[1])
        if line.startswith("succeeded:"):
            taken = time.monotonic() - began
            break
    count, spent = 0, 0.0
    if asking is not None:
        spent = server_seconds(command.pid)
        asking.send_signal(signal.SIGTERM)
        count = int(asking.communicate()[0])
        assert "until Ctrl-C" in command.stderr.readline()
        command.send_signal(signal.SIGINT)
    command.stderr.read()
    assert command.wait() == 0
    assert taken
    return taken, count, spent


def server_seconds(command: int) -> float:
    """The processor seconds of the one child of a command that stands back."""
    children = Path(f"/proc/{command}/task/{command}/children").read_text().split()
    (server,) = [pid for pid in children if os.getpriority(os.PRIO_PROCESS, int(pid)) > 0]
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask_from_elsewhere(url: str) -> subprocess.Popen[str]:
    """The readers, in a process of their own."""
    return subprocess.Popen(
        [sys.executable, __file__, "--ask", url], stdout=subprocess.PIPE, text=True
    )


def ask(url: str) -> None:
    """Be the readers, until SIGTERM; then print how many answers there were."""
    # Readers are on other machines mostly: here they take what nobody else wants.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    host, port = re.findall(r"//([^:]+):(\d+)", url)[0]
    count = 0

    async def reader() -> None:
        nonlocal count
        reading, writing = await asyncio.open_connection(host, int(port))
        while True:
            writing.write(f"GET /status HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            head = await reading.readuntil(b"\r\n\r\n")
            assert b" 200 " in head.splitlines()[0], head
            length = int(re.findall(rb"content-length: (\d+)", head)[0])
            json.loads(await reading.readexactly(length))
            count += 1

    async def all_of_them() -> None:
        asking = [asyncio.ensure_future(reader()) for _ in range(READERS)]
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGTERM, lambda: [one.cancel() for one in asking]
        )
        for ended in await asyncio.gather(*asking, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                raise ended

    asyncio.run(all_of_them())
    print(count)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        ask(sys.argv[2])
    else:
        sys.exit(main())
