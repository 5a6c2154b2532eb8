"""Random histories of loops whose processes are killed by SIGKILL: no record of an item is lost.

Each run is a process, or a whole run of the engine with workers; what is killed is any of them, at
any moment. With `FLOWTOY_LOOP_RUNS=200` and `FLOWTOY_LOOP_ENGINE=20`, as many are tried.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import dagster as dg
import psutil
import pytest
from histories import LAG, START, Instance, forked
from loop_api import STORES, Server, loop_of, stores_served

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.jobs.incremental.run_end import CursorsAtEnd
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry, retry_run
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.steps.state.items import Loop
from flowtoy_dagster.store.cursors import CursorsOfAttempt, cursors_of
from flowtoy_dagster.store.records import records_of

# language 22.3, 22.4, 22.6
RUNS = int(os.environ.get("FLOWTOY_LOOP_RUNS", "4"))
ENGINE = int(os.environ.get("FLOWTOY_LOOP_ENGINE", "1"))


@pytest.fixture
def server() -> Iterator[Server]:
    with stores_served() as server:
        yield server


class Stores:
    """What must be true of the stores of a server, of what was loaded, and of the cursors."""

    def __init__(self, server: Server, place: Path) -> None:
        place.mkdir()
        server.clear()
        self.server, self.place = server, place
        self.sink, self.home = place / "sink", place / "home"

    def starts(self) -> dict[str, int]:
        """Where each store is read from next."""
        found = cursors_of(self.home).items("loops", "rows")
        values = {store: one.value for store, one in found.items()}
        return {
            store: START if values.get(store) is None else int(cast(int, values[store])) - LAG
            for store in STORES
        }

    def left(self) -> list[tuple[str, int]]:
        """The stores and cursors of the records that were not loaded."""
        loaded = set(self.sink.read_text().split()) if self.sink.exists() else set()
        return [
            (store, row["at"]) for store, rows in self.server.rows.items() for row in rows
            if row["id"] not in loaded
        ]

    @contextlib.contextmanager
    def checked(self) -> Iterator[None]:
        """Nothing that the block does reads too early, or puts what is left out of reach."""
        before, self.server.asked[:] = self.starts(), []
        yield
        after = self.starts()
        assert all(before[store] <= at <= after[store] for store, at in self.server.asked)
        assert all(at >= after[store] for store, at in self.left())


class Processes(Stores):
    """Runs that are processes: real steps and stores, without Dagster's engine."""

    def __init__(self, seed: int, place: Path, server: Server) -> None:
        super().__init__(server, place)
        self.chance = random.Random(seed)
        self.flow = loop_of(server.url, ["true"])
        self.instance = Instance(self.home)
        self.records = records_of(self.instance.storage_directory())
        self.before: dict[str, tuple[str, ...]] = {}
        self.stores: dict[str, list[str]] = {}

    def begin(self, ended: list[dg.DagsterRun]) -> dg.DagsterRun:
        """A new run, or a retry of one that has ended and not loaded what it has read."""
        run_id = f"run-{len(self.instance.runs)}"
        unfinished = [run for run in ended if self.records.read(run.run_id, "load") is None]
        parent = self.chance.choice(unfinished) if unfinished else None
        parent = parent if self.chance.random() < 0.5 else None
        steps = None
        if parent is not None:
            rows = self.records.read(parent.run_id, "rows")
            steps = ["rows", "load"] if rows is None or rows.state != "succeeded" else ["load"]
        made = dg.DagsterRun(
            job_name="loops", run_id=run_id, step_keys_to_execute=steps,
            parent_run_id=parent.run_id if parent else None,
            root_run_id=parent.root_run_id or parent.run_id if parent else None,
        )
        self.instance.runs[run_id] = made
        if parent is not None:
            self.before[run_id] = (*self.before[parent.run_id], parent.run_id)
            self.stores[run_id] = self.stores[parent.run_id]
        else:
            self.before[run_id] = ()
            self.stores[run_id] = self.chance.sample(STORES, self.chance.randrange(1, 5))
        return made

    def run(self, run: dg.DagsterRun, fails: bool) -> None:
        """All of a run, as its process does it."""
        ended = {"rows": "succeeded"}
        if run.step_keys_to_execute == ["load"]:
            read = self.records.read(run.parent_run_id or "", "rows")
            assert read is not None
            ids = read.outputs["ids"]
        else:
            outcome = self._read(run)
            ids = outcome.outputs.get("ids", [])
            if not outcome.succeeded:
                ended["rows"] = "failed"
        if ended["rows"] == "succeeded":
            with self.sink.open("a") as sink:
                sink.write("".join(f"{each}\n" for of_item in ids for each in of_item))
            ended["load"] = "failed" if fails else "succeeded"
            if not fails:
                self.records.write(run.run_id, "load", StepOutcome(), False)
        self.at_end(run, ended)

    def at_end(self, run: dg.DagsterRun, ended: dict[str, str]) -> None:
        """The end of a run."""
        instance = cast(dg.DagsterInstance, self.instance)
        (end,) = CursorsAtEnd(self.flow).store(run, instance, ended)
        assert end.items is not None

    def _read(self, run: dg.DagsterRun) -> StepOutcome:
        os.environ["LOOP_STORES"] = " ".join(self.stores[run.run_id])
        log = self.records.item_log(run.run_id, "rows", self.before[run.run_id])
        context = StepContext(
            self.flow.step("rows"), RunInfo(run.run_id, self.flow.name, lambda: 0.0),
            cursors=CursorsOfAttempt(cursors_of(self.home)), loop=Loop(log, 2),
        )
        outcome = run_step(context, self.flow.sources, {})
        self.records.write(run.run_id, "rows", outcome, False)
        return outcome

    def round(self) -> tuple[int, int]:
        """One or two runs at once, of which one may be killed: how many runs, how many died."""
        self.server.write(self.chance)
        self.server.broken = frozenset(s for s in STORES if self.chance.random() < 0.15)
        ended = list(self.instance.runs.values())
        with self.checked():
            children = []
            for _ in range(self.chance.choice([1, 1, 2])):
                run, fails = self.begin(ended), self.chance.random() < 0.25
                children.append(forked(lambda run=run, fails=fails: self.run(run, fails)))
            if self.chance.random() < 0.5:
                time.sleep(self.chance.random() * 0.1)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.chance.choice(children), signal.SIGKILL)
            ends = [os.waitpid(child, 0)[1] for child in children]
        assert all(os.WIFSIGNALED(end) or os.WEXITSTATUS(end) == 0 for end in ends)
        return len(ends), sum(map(os.WIFSIGNALED, ends))


@pytest.mark.timeout(3600)
def test_processes_of_loops_that_are_killed_lose_nothing(tmp_path: Path, server: Server) -> None:
    runs = died = stored = 0
    for seed in range(RUNS):
        history = Processes(seed, tmp_path / str(seed), server)
        for _ in range(8):
            begun, killed = history.round()
            runs, died = runs + begun, died + killed
        stored += sum(start != START for start in history.starts().values())
        print(f"{seed + 1} histories, {runs} runs, {died} killed, {stored} stored", flush=True)
    assert stored > RUNS / 4
    assert died > RUNS / 4


def _end_part_of(run: int, chance: random.Random) -> None:
    """Kill a run with all that it has started, or one of its workers."""
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        below = psutil.Process(run).children(recursive=True)
        if below and chance.random() < 0.6:
            chance.choice(below).kill()
        else:
            os.killpg(run, signal.SIGKILL)


@pytest.mark.timeout(7200)
def test_real_runs_of_loops_that_are_killed_lose_nothing(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = killed = 0
    for seed in range(ENGINE):
        chance = random.Random(seed)
        stores = Stores(server, tmp_path / str(seed))
        broken = stores.place / "broken"
        load = (
            f"printf '%s\\n' {{{{ flows.rows.ids | sum(start=[]) | join(' ') }}}} >> "
            f"{stores.sink}; test ! -e {broken}"
        )
        executor = chance.choice(["warm", "warm", "in_process"])
        flow = loop_of(server.url, load, runner={"executor": executor})

        def run() -> None:
            run_flow(flow, home=stores.home)  # noqa: B023 - called in this round of the loop

        def again() -> None:
            with History(stores.home) as history, contextlib.suppress(UsageError):  # noqa: B023
                retry_run(history, plan_retry(history, history.find("last")), 2)

        for _ in range(chance.randrange(2, 5)):
            server.write(chance)
            server.broken = frozenset(s for s in STORES if chance.random() < 0.15)
            monkeypatch.setenv("LOOP_STORES", " ".join(STORES))
            broken.touch() if chance.random() < 0.3 else broken.unlink(missing_ok=True)
            work: list[Callable[[], None]] = [chance.choice([run, run, again])]
            if chance.random() < 0.25:
                work = [run, run]
            with stores.checked():
                children = [forked(each) for each in work]
                runs += len(children)
                if chance.random() < 0.6:
                    time.sleep(chance.random() * 4)
                    killed += 1
                    _end_part_of(children[0], chance)
                for child in children:
                    os.waitpid(child, 0)
        broken.unlink(missing_ok=True)
        server.broken = frozenset()
        os.waitpid(forked(run), 0)
        assert stores.left() == [], seed
        print(f"{seed + 1} histories, {runs} runs, {killed} killed", flush=True)
