"""Random histories of loops whose items have cursors: what `test_histories` does, for each item.

Items fail, loops are killed between two items, lists of items change, runs are retried and go on
side by side. With `FLOWTOY_LOOP_HISTORIES=200`, as many histories are tried.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
from histories import LAG, START, RandomHistory, Run
from loop_api import STORES, Server, loop_of, stores_served

from flowtoy_dagster.steps.attempts import run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.steps.state.cursors import CursorCounts
from flowtoy_dagster.steps.state.items import ItemResult, Loop
from flowtoy_dagster.store.cursors import CursorsOfAttempt
from flowtoy_dagster.store.item_log import StoredItemLog

# language 22.6
HISTORIES = int(os.environ.get("FLOWTOY_LOOP_HISTORIES", "24"))


@pytest.fixture
def server() -> Iterator[Server]:
    with stores_served() as server:
        yield server


class Killed(BaseException):
    """What ends a loop as SIGKILL does: nothing of it is written any more."""


class KilledLog(StoredItemLog):
    """A log that keeps so many results, and then ends the process."""

    left = 0

    def append(self, result: ItemResult) -> None:
        if not self.left:
            self.end()
            raise Killed
        self.left -= 1
        super().append(result)


@dataclass
class Part:
    """What one item has read, as the model says."""

    ids: list[str]
    version: int
    value: int | None


@dataclass
class Going(Run):
    """A run, and what the model says of it."""

    stores: list[str] = field(default_factory=list)
    parts: dict[str, Part] = field(default_factory=dict)
    before: tuple[str, ...] = ()


class World(RandomHistory[Going]):
    """A history, and beside it a model of what must be."""

    def __init__(self, seed: int, home: Path, server: Server, patch: pytest.MonkeyPatch) -> None:
        super().__init__(seed, home, server, loop_of(server.url, ["true"]))
        self.server, self.patch = server, patch
        self.versions = dict.fromkeys(STORES, 0)
        self.values: dict[str, int] = {}
        self.reused = self.tolerated = self.overtaken = 0

    def start(self, store: str) -> int:
        return START if store not in self.values else self.values[store] - LAG

    def begin(self, before: Going | None = None) -> None:
        going = Going(self.new_run(before))
        self.going.append(going)
        if before is None:
            count = self.chance.randrange(1, len(STORES) + 1)
            going.stores = self.chance.sample(STORES, count)
            return
        going.stores, going.parts = before.stores, dict(before.parts)
        going.before = (*before.before, before.run.run_id)
        if going.run.step_keys_to_execute == ["load"]:
            going.phase = "load"

    def ids(self, going: Going) -> list[Any]:
        return [each for part in going.parts.values() for each in part.ids]

    def read(self, going: Going) -> None:
        self.server.broken = frozenset(s for s in STORES if self.chance.random() < 0.2)
        self.server.asked.clear()
        self.patch.setenv("LOOP_STORES", " ".join(going.stores))
        place = going.run.run_id, "rows"
        log = self.records.item_log(*place, going.before)
        most = len(going.stores)
        if self.chance.random() < 0.2:
            most = self.chance.randrange(most)
            log = KilledLog(log._store, log._own, log._before)
            log.left = most
        expected = self._model(going, most)
        context = StepContext(
            self.flow.step("rows"),
            RunInfo(going.run.run_id, self.flow.name, lambda: 0.0),
            cursors=CursorsOfAttempt(self.cursors),
            loop=Loop(log, 1 if most < len(going.stores) else self.chance.choice([1, 3])),
            interrupts=(Killed,),
        )
        try:
            outcome = run_step(context, self.flow.sources, {})
        except Killed:
            self.kill(going)
            return
        assert sorted(self.server.asked) == sorted(expected)
        failed = len(going.stores) - len(going.parts)
        self.records.write(*place, outcome, False)
        assert outcome.succeeded == (failed <= 1), outcome.error
        going.phase = "load" if outcome.succeeded else "end"
        going.ended["rows"] = "succeeded" if outcome.succeeded else "failed"
        if outcome.succeeded:
            ids = [going.parts[store].ids for store in going.stores if store in going.parts]
            assert outcome.outputs["ids"] == ids
            self.tolerated += failed

    def _model(self, going: Going, most: int) -> list[tuple[str, int]]:
        """What the first items of a loop come to; gives what they ask the server for."""
        asked = []
        for place, store in enumerate(going.stores):
            known, start = going.parts.pop(store, None), self.start(store)
            if known is not None and known.version == self.versions[store]:
                self.reused += 1
                going.parts[store] = known
                continue
            asked.append((store, start))
            if store in self.server.broken or place >= most:
                continue
            rows = self.server.since(store, start)
            newest = max((row["at"] for row in rows), default=None)
            is_newer = newest is not None and newest > self.values.get(store, START - 1)
            value = newest if is_newer else None
            going.parts[store] = Part([r["id"] for r in rows], self.versions[store], value)
        return asked

    def end(self, going: Going) -> None:
        self.going.remove(going)
        (end,) = self.at_end.store(going.run, cast(dg.DagsterInstance, self.instance), going.ended)
        moving = {s: part for s, part in going.parts.items() if part.value is not None}
        others = len(going.stores) - len(moving)
        if going.ended.get("rows", "succeeded") == "failed":
            assert (end.state, end.reason) == ("held", "the step failed")
            self.retriable.append(going)
        elif going.ended.get("load") != "succeeded":
            self.retriable.append(going)
            assert end.state == ("held" if moving else "unchanged")
        else:
            stored = [s for s, part in moving.items() if part.version == self.versions[s]]
            self.overtaken += len(moving) - len(stored)
            assert end.items == CursorCounts(len(stored), others, len(moving) - len(stored))
            assert len(stored) == len(moving) or "was faster" in (end.reason or "")
            for store in stored:
                self.versions[store] += 1
                self.values[store] = cast(int, moving[store].value)

    def check(self) -> None:
        """What is stored is what the model says, and what nobody has loaded is read next."""
        found = self.cursors.items("loops", "rows")
        assert {item: one.value for item, one in found.items()} == self.values
        for store, rows in self.server.rows.items():
            start = self.start(store)
            lost = [r for r in rows if r["id"] not in self.loaded and r["at"] < start]
            assert lost == []


@pytest.mark.parametrize("seed", range(0, HISTORIES, 8))
def test_no_history_of_a_loop_loses_a_record_or_reads_one_twice_beyond_the_lag(
    seed: int, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = dict.fromkeys(("stored", "reused", "tolerated", "overtaken"), 0)
    for each in range(seed, seed + 8):
        server.clear()
        world = World(each, tmp_path / str(each), server, monkeypatch)
        for _ in range(80):
            world.act()
        for name in ("reused", "tolerated", "overtaken"):
            seen[name] += getattr(world, name)
        seen["stored"] += sum(world.versions.values())
    print(seed, seen)
    assert all(seen.values())
