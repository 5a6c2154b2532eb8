"""Random histories of incremental loads: no record is lost, none is read twice but within the lag.

Runs fail, are killed, are retried, run side by side, and records arrive late. Here a history is
driven without Dagster's engine, with the real steps, stores and the real end of a run. With
`FLOWTOY_INCREMENTAL_RUNS=200`, each run of as many histories is a process, which may be killed by
SIGKILL at any moment; `FLOWTOY_INCREMENTAL_ENGINE=20` does the same with whole runs of the engine.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
from histories import LAG, START, Instance, RandomHistory, Run, forked
from json_api import served

from flowtoy_dagster import load_flow, run_flow
from flowtoy_dagster.engine.jobs.incremental.run_end import CursorsAtEnd
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import plan_retry, retry_run
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.store.cursors import cursors_of
from flowtoy_dagster.store.records import records_of

# language 22.1, 22.2, 22.3, 22.4
HISTORIES = 40
KILLED_HISTORIES = int(os.environ.get("FLOWTOY_INCREMENTAL_RUNS", "0"))
REAL_HISTORIES = int(os.environ.get("FLOWTOY_INCREMENTAL_ENGINE", "0"))


@dataclass
class Server:
    """An API whose records have an integer as their cursor; pages of two records."""

    rows: list[dict[str, int]] = field(default_factory=list)
    clock: int = 0
    url: str = ""
    asked: list[int] = field(default_factory=list)

    def write(self, chance: random.Random) -> None:
        """A few records; some arrive late, as late as the lag allows."""
        for _ in range(chance.randrange(1, 4)):
            self.clock += chance.randrange(3)
            late = chance.randrange(LAG + 1) if chance.random() < 0.4 else 0
            self.rows.append({"id": len(self.rows), "at": self.clock - late})

    def since(self, start: int) -> list[dict[str, int]]:
        return [row for row in self.rows if row["at"] >= start]


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    def answer(query: Mapping[str, str]) -> tuple[int, Any]:
        start, offset = int(query["since"]), int(query["offset"])
        if offset == 0:
            state.asked.append(start)
        return 200, state.since(start)[offset : offset + 2]

    with served(answer) as state.url:
        yield state


def flow_of(url: str, load: list[str] | str, **more: Any) -> Flow:
    rows = {
        "name": "rows",
        "source": {"type": "rest", "url": url, "paginator": {"type": "offset", "limit": 2}},
        "incremental": {"cursor_path": "at", "initial_value": START, "lag": LAG},
        "input": {"params": {"since": "{{ incremental.start_value }}"}},
        "output": [{"name": "ids", "value": "[].id"}],
    }
    loads = {"name": "load", "source": {"type": "process", "command": load}, "depends_on": "rows"}
    return load_flow({"name": "histories", "flow": [rows, loads], **more})


@dataclass
class Going(Run):
    """A run, and what the model says of it."""

    ids: list[int] = field(default_factory=list)
    version: int = 0
    value: int | None = None


class World(RandomHistory[Going]):
    """A history, and beside it a model of what must be."""

    def __init__(self, seed: int, home: Path, server: Server) -> None:
        super().__init__(seed, home, server, flow_of(server.url, ["true"]))
        self.server = server
        self.version, self.value = 0, None

    value: int | None

    @property
    def start(self) -> int:
        return START if self.value is None else self.value - LAG

    def begin(self, before: Going | None = None) -> None:
        going = Going(self.new_run(before))
        if before is not None and going.run.step_keys_to_execute == ["load"]:
            going.phase, going.ids = "load", before.ids
            going.version, going.value = before.version, before.value
        self.going.append(going)

    def ids(self, going: Going) -> list[Any]:
        return going.ids

    def read(self, going: Going) -> None:
        if self.chance.random() < 0.15:
            going.ended["rows"], going.phase = "failed", "end"
            return
        step = self.flow.step("rows")
        info = RunInfo(going.run.run_id, self.flow.name, lambda: 0.0)
        context = StepContext(step, info, cursors=self.cursors)
        outcome = run_step(context, self.flow.sources, {})
        assert outcome.error is None, outcome.error
        expected = self.server.since(self.start)
        assert outcome.outputs["ids"] == [row["id"] for row in expected]
        assert self.server.asked[-1] == self.start
        self.records.write(going.run.run_id, "rows", outcome, False)
        going.ids, going.version = [row["id"] for row in expected], self.version
        newest = max((row["at"] for row in expected), default=None)
        is_newer = newest is not None and (self.value is None or newest > self.value)
        going.value = newest if is_newer else None
        going.ended["rows"], going.phase = "succeeded", "load"

    def end(self, going: Going) -> None:
        self.going.remove(going)
        instance = cast(dg.DagsterInstance, self.instance)
        (end,) = self.at_end.store(going.run, instance, going.ended)
        succeeded = going.ended.get("load") == "succeeded"
        if not succeeded:
            self.retriable.append(going)
        has_read = going.ended.get("rows", "succeeded") == "succeeded"
        if has_read and going.value is None:
            assert end.state == "unchanged"
        elif succeeded and going.version == self.version:
            assert end.state == "stored", end
            self.version, self.value = self.version + 1, going.value
        else:
            assert end.state == "held", end
            assert not succeeded or "was faster" in (end.reason or "")

    def check(self) -> None:
        """What is stored is what the model says, and the next run reads what nobody has loaded."""
        found = self.cursors.read("histories", "rows")
        assert (found.value if found is not None else None) == self.value
        lost = [r for r in self.server.rows if r["id"] not in self.loaded and r["at"] < self.start]
        assert lost == []


@pytest.mark.parametrize("seed", range(0, HISTORIES, 8))
def test_no_history_loses_a_record_or_reads_one_twice_beyond_the_lag(
    seed: int, tmp_path: Path, server: Server
) -> None:
    stored = 0
    for each in range(seed, seed + 8):
        server.rows.clear()
        server.clock = 0
        world = World(each, tmp_path / str(each), server)
        for _ in range(60):
            world.act()
        stored += world.version
    assert stored >= 8


class Killed:
    """A history of runs that are processes; what they do is on the disk, whole or not at all."""

    def __init__(self, seed: int, place: Path, server: Server) -> None:
        place.mkdir()
        self.chance = random.Random(seed)
        self.server, self.place = server, place
        self.flow = flow_of(server.url, ["true"])
        self.instance = Instance(place / "home")
        self.records = records_of(self.instance.storage_directory())
        self.at_end = CursorsAtEnd(self.flow)

    def run(self, run: dg.DagsterRun, fails: bool) -> None:
        """All of a run, as its process does it."""
        ended: dict[str, str] = {}
        ids = None
        if run.step_keys_to_execute != ["load"]:
            info = RunInfo(run.run_id, self.flow.name, lambda: 0.0)
            cursors = cursors_of(self.instance.root_directory)
            context = StepContext(self.flow.step("rows"), info, cursors=cursors)
            outcome = run_step(context, self.flow.sources, {})
            assert outcome.error is None, outcome.error
            self.records.write(run.run_id, "rows", outcome, False)
            ended["rows"] = "succeeded"
            ids = outcome.outputs["ids"]
        else:
            read = self.records.read(run.parent_run_id or "", "rows")
            assert read is not None
            ids = read.outputs["ids"]
        with (self.place / "sink").open("a") as sink:
            sink.write("".join(f"{each}\n" for each in ids))
        ended["load"] = "failed" if fails else "succeeded"
        if not fails:
            self.records.write(run.run_id, "load", StepOutcome(), False)
        self.at_end.store(run, cast(dg.DagsterInstance, self.instance), ended)

    def begin(self) -> dg.DagsterRun:
        """A new run, or one that goes on from one that had read and not loaded."""
        run_id = f"run-{len(self.instance.runs)}"
        parent, steps = None, None
        for before in self.instance.runs.values():
            # Retries of retries need the record of the first run, which they do not have here.
            if before.parent_run_id is None and self.chance.random() < 0.3:
                has_read = self.records.read(before.run_id, "rows") is not None
                has_loaded = self.records.read(before.run_id, "load") is not None
                if has_read and not has_loaded:
                    parent, steps = before.run_id, ["load"]
        made = dg.DagsterRun(
            job_name="histories", run_id=run_id, step_keys_to_execute=steps,
            parent_run_id=parent, root_run_id=parent,
        )
        self.instance.runs[run_id] = made
        return made

    def round(self) -> tuple[int, int]:
        """One or two runs at once, some of them killed; gives how many, and how many died."""
        self.server.write(self.chance)
        begun, self.server.asked[:] = _start(self.place), []
        children = []
        for _ in range(self.chance.choice([1, 1, 2])):
            run, fails = self.begin(), self.chance.random() < 0.25
            children.append(forked(lambda run=run, fails=fails: self.run(run, fails)))
        victim = self.chance.choice(children) if self.chance.random() < 0.5 else None
        if victim is not None:
            time.sleep(self.chance.random() * 0.06)
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        ends = [os.waitpid(child, 0)[1] for child in children]
        assert all(os.WIFSIGNALED(end) or os.WEXITSTATUS(end) == 0 for end in ends)
        assert all(begun <= asked <= _start(self.place) for asked in self.server.asked)
        loaded = _loaded(self.place)
        left = [row for row in self.server.rows if row["id"] not in loaded]
        assert all(row["at"] >= _start(self.place) for row in left)
        return len(ends), sum(map(os.WIFSIGNALED, ends))


@pytest.mark.skipif(not KILLED_HISTORIES, reason="set FLOWTOY_INCREMENTAL_RUNS")
@pytest.mark.timeout(3600)
def test_processes_that_are_killed_lose_nothing(tmp_path: Path, server: Server) -> None:
    runs = died = 0
    for seed in range(KILLED_HISTORIES):
        server.rows.clear()
        server.clock = 0
        history = Killed(seed, tmp_path / str(seed), server)
        for _ in range(8):
            begun, killed = history.round()
            runs, died = runs + begun, died + killed
        print(f"{seed + 1} histories, {runs} runs, {died} killed", flush=True)
    assert died > KILLED_HISTORIES / 4


@pytest.mark.skipif(not REAL_HISTORIES, reason="set FLOWTOY_INCREMENTAL_ENGINE")
@pytest.mark.timeout(7200)
def test_real_runs_that_are_killed_lose_nothing(tmp_path: Path, server: Server) -> None:
    killed = runs = 0
    # What a run imports is there in all forks then.
    run_flow(flow_of(server.url, "true", runner={"executor": "in_process"}), home=tmp_path / "one")
    for seed in range(REAL_HISTORIES):
        chance = random.Random(seed)
        place = tmp_path / str(seed)
        place.mkdir()
        server.rows.clear()
        server.clock = 0
        load = (
            f"printf '%s\\n' {{{{ flows.rows.ids | join(' ') }}}} >> {place}/sink; "
            f"test ! -e {place}/broken"
        )
        flow = flow_of(server.url, load, runner={"executor": "in_process"})

        def run(flow: Flow = flow, place: Path = place) -> None:
            run_flow(flow, home=place / "home")

        def again(place: Path = place) -> None:
            with History(place / "home") as history, contextlib.suppress(UsageError):
                retry_run(history, plan_retry(history, history.find("last")), 1)

        for _ in range(chance.randrange(2, 5)):
            server.write(chance)
            broken = place / "broken"
            broken.touch() if chance.random() < 0.3 else broken.unlink(missing_ok=True)
            work = [run, run] if chance.random() < 0.25 else [chance.choice([run, run, again])]
            start, server.asked[:] = _start(place), []
            children = [forked(each) for each in work]
            runs += len(children)
            if chance.random() < 0.5:
                time.sleep(chance.random() * 1.2)
                killed += 1
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(children[0], signal.SIGKILL)
            for child in children:
                os.waitpid(child, 0)
            assert all(start <= asked <= _start(place) for asked in server.asked)
            loaded = _loaded(place)
            left = [row for row in server.rows if row["id"] not in loaded]
            assert all(row["at"] >= _start(place) for row in left)
        (place / "broken").unlink(missing_ok=True)
        os.waitpid(forked(run), 0)
        assert _loaded(place) == {row["id"] for row in server.rows}, seed
        print(f"{seed + 1} histories, {runs} runs, {killed} killed", flush=True)


def _loaded(place: Path) -> set[int]:
    sink = place / "sink"
    return set(map(int, sink.read_text().split())) if sink.exists() else set()


def _start(place: Path) -> int:
    """Where the next run begins."""
    found = cursors_of(place / "home").read("histories", "rows")
    return START if found is None or found.value is None else int(found.value) - LAG
