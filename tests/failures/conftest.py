"""What the tests of failures have in common: runs, their events, and a package of trouble."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from module_files import load
from provider_packages import install_provider

from flowtoy_dagster import run_flow
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.status.event_reader import RunStatus

DEADLINE = 120.0
"""Seconds for which is waited; the specification's own figures are less, but machines are busy."""
MARKER = "FLOW_OF_THIS_TEST"


load(Path(__file__).with_name("model.py"), "failure_model")
load(Path(__file__).with_name("simulated.py"), "simulated_run")


@pytest.fixture(autouse=True)
def used_before(made_home: Path) -> Path:
    """The home folder, as if it had been used before."""
    return made_home


@dataclass(frozen=True)
class Stored:
    """A run as Dagster has stored it."""

    run: dg.DagsterRun
    entries: list[dg.EventLogEntry]

    @property
    def status(self) -> str:
        """Dagster's status of the run."""
        return self.run.status.value

    def types(self, key: str) -> list[str]:
        """The types of a step's events, in their order."""
        return [
            entry.dagster_event.event_type_value
            for entry in self.entries
            if entry.dagster_event and entry.dagster_event.step_key == key
        ]

    def steps_with(self, kind: str) -> list[str]:
        """The steps that have an event of a type, in the order of the events."""
        return [
            entry.dagster_event.step_key
            for entry in self.entries
            if entry.dagster_event
            and entry.dagster_event.event_type_value == kind
            and entry.dagster_event.step_key
        ]

    def events(self, kind: str, key: str) -> list[Any]:
        """A step's events of a type."""
        return [
            entry.dagster_event
            for entry in self.entries
            if entry.dagster_event
            and entry.dagster_event.event_type_value == kind
            and entry.dagster_event.step_key == key
        ]


@pytest.fixture
def stored(home: Path) -> Callable[[str], Stored]:
    """Reads a run out of the home."""

    def read(run_id: str) -> Stored:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            run = instance.get_run_by_id(run_id)
            assert run is not None
            return Stored(run, list(instance.all_logs(run_id)))

    return read


@dataclass(frozen=True)
class Ended:
    """A run that a command has carried out; what tests ask of a `FlowRun`."""

    run_id: str
    status: RunStatus
    outputs: dict[str, Any]
    success: bool


@pytest.fixture
def run_on(flowtoy: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Runs a flow to its end; where its executor has processes, by a command.

    A command forks its workers from what it has imported; this process, which has threads, would
    start Python for them.
    """

    def run(config: dict[str, Any], max_workers: int | None = None) -> Any:
        if config.get("runner", {}).get("executor") == "in_process":
            return run_flow(config, max_workers)
        path = tmp_path / "flow.json"
        path.write_text(json.dumps(config))
        limit = [] if max_workers is None else ["--max-workers", str(max_workers)]
        done = flowtoy("run", path, "-j", *limit)
        assert done.code in (0, 1), done.stderr
        with History() as history:
            stored = history.find("last")
            return Ended(stored.run_id, history.status(stored), done.json, done.code == 0)

    return run


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object], str], None]:
    """Polls until something is so."""

    def wait(condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
        end = time.monotonic() + deadline
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"not within {deadline:.0f} s: {what}")
            time.sleep(0.05)

    return wait


TROUBLE = '''
"""Providers that do what a step should not."""
import ctypes, os, resource, signal, time


class Trouble:
    """Counts its calls by lines in a file; what it does then, `what` says.

    Where the file `unless` is there, it gives its own name and nothing happens.
    """

    def __init__(self, configuration):
        self.configuration = configuration

    def call(self, input_payload=None):
        settings = self.configuration
        with open(settings["count"], "a") as file:
            file.write("called\\n")
        if os.path.exists(settings["unless"]):
            return "fixed"
        return getattr(self, settings["what"])()

    def exits(self):
        os._exit(3)

    def segfaults(self):
        ctypes.string_at(0)

    def is_killed(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def kills_server(self):
        os.kill(os.getppid(), signal.SIGKILL)
        return "survived"

    def eats_memory(self):
        in_use = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGESIZE")
        limit = in_use + (64 << 20)
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        try:
            return "x" * (1 << 30)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))

    def sleeps(self):
        while True:
            time.sleep(0.5)

    def blocks(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(600)

    def fails(self):
        return {"status": {"success": False, "code": 9, "notes": ["not yet"]}, "data": None}
'''


@pytest.fixture
def trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with the provider `trouble`, installed for the processes that the test starts."""
    path = install_provider(tmp_path / "site", "trouble", "Trouble", TROUBLE)
    monkeypatch.setenv("PYTHONPATH", path)


@dataclass
class Running:
    """A command of flowtoy that goes on, and whatever it has started."""

    process: subprocess.Popen[str]
    marker: str
    errors: Path
    mine: list[int] = field(default_factory=list)

    def processes(self) -> dict[int, int]:
        """The pid of every process of this run that is not a zombie, and its parent."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError, IndexError):
                if self.marker.encode() not in (entry / "environ").read_bytes():
                    continue
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    found[int(entry.name)] = int(parent)
        return found

    def children_of(self, pid: int) -> list[int]:
        """The processes of this run that a process of it has started."""
        return [child for child, parent in self.processes().items() if parent == pid]

    @property
    def server(self) -> int:
        """The fork server: the only child of the command itself."""
        (server,) = self.children_of(self.process.pid)
        return server

    def send(self, number: int) -> None:
        """Send a signal to the command alone, as `kill` does."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for the command's end; gives its exit code."""
        return self.process.wait(timeout=200)

    @property
    def stderr(self) -> str:
        """What it has printed so far."""
        return self.errors.read_text()


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts a command of flowtoy, in a session of its own, and ends what is left of it."""
    begun: list[Running] = []

    def start(*arguments: str | Path) -> Running:
        marker = f"{MARKER}={uuid.uuid4().hex}"
        errors = tmp_path / f"stderr-{len(begun)}"
        name, _, value = marker.partition("=")
        with open(errors, "w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "flowtoy_dagster", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                text=True,
                cwd=tmp_path,
                env={**os.environ, name: value},
                start_new_session=True,
            )
        running = Running(process, marker, errors)
        begun.append(running)
        return running

    yield start
    for running in begun:
        for pid in running.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        running.process.wait(timeout=DEADLINE)


@pytest.fixture
def show_last(flowtoy: Callable[..., Any]) -> Callable[[], Any]:
    """What `flowtoy runs show last --json` tells."""

    def show() -> Any:
        done = flowtoy("runs", "show", "last", "--json")
        assert done.code == 0, done.stderr
        return json.loads(done.stdout)

    return show
