"""What random histories of incremental loads have in common: an API, runs, and what happens next.

A history is driven without Dagster's engine, with the real steps, stores and the real end of a run.
"""

from __future__ import annotations

import contextlib
import os
import random
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import dagster as dg

from flowtoy_dagster.engine.jobs.incremental.run_end import CursorsAtEnd
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.steps.attempts import StepOutcome
from flowtoy_dagster.store.cursors import cursors_of
from flowtoy_dagster.store.records import records_of

LAG = 3
START = -10


def forked(work: Any) -> int:
    """Run something in a fork of this process; its process id."""
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            work()
            code = 0
        os._exit(code)
    return child


class Instance:
    """What the end of a run asks of Dagster's instance."""

    def __init__(self, home: Path) -> None:
        self.root_directory = str(home)
        self.runs: dict[str, dg.DagsterRun] = {}

    def storage_directory(self) -> str:
        return str(Path(self.root_directory) / "storage")

    def get_run_by_id(self, run_id: str) -> dg.DagsterRun | None:
        return self.runs.get(run_id)


@dataclass
class Run:
    """A run that goes on, or was killed, or has ended."""

    run: dg.DagsterRun
    phase: str = "read"
    ended: dict[str, str] = field(default_factory=dict)


class Writing(Protocol):
    """A server to which records come."""

    def write(self, chance: random.Random) -> None:
        """A few records."""


Going = TypeVar("Going", bound=Run)


class RandomHistory(ABC, Generic[Going]):
    """A history: the real parts; those who inherit it have a model of what must be beside them."""

    def __init__(self, seed: int, home: Path, server: Writing, flow: Flow) -> None:
        self.chance = random.Random(seed)
        self.flow = flow
        self.instance = Instance(home)
        self.records = records_of(self.instance.storage_directory())
        self.cursors = cursors_of(home)
        self.at_end = CursorsAtEnd(self.flow)
        self.going: list[Going] = []
        self.retriable: list[Going] = []
        self.loaded: set[Any] = set()
        self._writing = server

    @abstractmethod
    def begin(self, before: Going | None = None) -> None:
        """A new run, or one that goes on from one before it."""

    @abstractmethod
    def check(self) -> None:
        """What is stored is what the model says."""

    @abstractmethod
    def read(self, going: Going) -> None:
        """The step that reads."""

    @abstractmethod
    def end(self, going: Going) -> None:
        """The end of the run."""

    @abstractmethod
    def ids(self, going: Going) -> list[Any]:
        """The records that the run has read."""

    def new_run(self, before: Going | None) -> dg.DagsterRun:
        """A run as Dagster has it: of both steps, or of the one that is missing."""
        run_id = f"run-{len(self.instance.runs)}"
        steps = None
        if before is not None:
            steps = ["load"] if before.ended.get("rows") == "succeeded" else ["rows", "load"]
        run = dg.DagsterRun(
            job_name=self.flow.name, run_id=run_id, step_keys_to_execute=steps,
            parent_run_id=before.run.run_id if before else None,
            root_run_id=before.run.root_run_id or before.run.run_id if before else None,
        )
        self.instance.runs[run_id] = run
        return run

    def act(self) -> None:
        """Whatever comes next."""
        kind = self.chance.random()
        if kind < 0.25:
            self._writing.write(self.chance)
        elif kind < 0.4 and len(self.going) < 3:
            self.begin()
        elif kind < 0.5 and self.retriable:
            self.begin(self.retriable.pop(self.chance.randrange(len(self.retriable))))
        elif kind < 0.55 and self.going:
            self.kill(self.chance.choice(self.going))
        elif self.going:
            going = self.chance.choice(self.going)
            {"read": self.read, "load": self._load, "end": self.end}[going.phase](going)
        self.check()

    def kill(self, going: Going) -> None:
        """Its process is gone."""
        self.going.remove(going)
        self.retriable.append(going)

    def _load(self, going: Going) -> None:
        going.phase = "end"
        if self.chance.random() < 0.25:
            going.ended["load"] = "failed"
            return
        self.loaded.update(self.ids(going))
        if self.chance.random() < 0.1:
            self.kill(going)  # what was loaded is loaded, and nobody knows
            return
        self.records.write(going.run.run_id, "load", StepOutcome(), False)
        going.ended["load"] = "succeeded"
