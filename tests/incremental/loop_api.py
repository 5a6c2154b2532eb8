"""An API with the records of several stores, and a flow that loops over the stores."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from histories import LAG, START
from json_api import served

from flowtoy_dagster import load_flow
from flowtoy_dagster.flow.graph import Flow

STORES = ("north", "south", "east", "west")


@dataclass
class Server:
    """An API with the records of several stores, by an integer; pages of two records."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    url: str = ""
    asked: list[tuple[str, int]] = field(default_factory=list)
    broken: frozenset[str] = frozenset()
    clock: int = 0

    def write(self, chance: random.Random) -> None:
        """A few records of some stores; some arrive late, as late as the lag allows."""
        for _ in range(chance.randrange(1, 6)):
            self.clock += chance.randrange(3)
            late = chance.randrange(LAG + 1) if chance.random() < 0.4 else 0
            store = chance.choice(STORES)
            rows = self.rows.setdefault(store, [])
            rows.append({"id": f"{store}-{len(rows)}", "at": self.clock - late})

    def since(self, store: str, start: int) -> list[dict[str, Any]]:
        return [row for row in self.rows.get(store, []) if row["at"] >= start]

    def clear(self) -> None:
        self.rows.clear()
        self.asked.clear()
        self.clock, self.broken = 0, frozenset()


@contextmanager
def stores_served() -> Iterator[Server]:
    """The API at an address of its own."""
    state = Server()

    def answer(query: Mapping[str, str]) -> tuple[int, Any]:
        store, start, offset = query["store"], int(query["since"]), int(query["offset"])
        if offset == 0:
            state.asked.append((store, start))
        # What is broken breaks on its second page, if it has one.
        fails = store in state.broken and (offset or len(state.since(store, start)) < 2)
        return 500 if fails else 200, state.since(store, start)[offset : offset + 2]

    with served(answer) as state.url:
        yield state


def loop_of(url: str, load: list[str] | str, **more: Any) -> Flow:
    """A flow that reads the stores in $LOOP_STORES, of which one may fail, and loads the rest."""
    rows = {
        "name": "rows",
        "for_each": {
            "in": "{{ env.LOOP_STORES.split(' ') }}", "as": "store", "key": "{{ store }}",
            "max_failures": 1,
        },
        "source": {"type": "rest", "url": url, "paginator": {"type": "offset", "limit": 2}},
        "incremental": {"cursor_path": "at", "initial_value": START, "lag": LAG},
        "input": {"params": {"since": "{{ incremental.start_value }}", "store": "{{ store }}"}},
        "output": [{"name": "ids", "value": "[].id"}],
    }
    loads = {"name": "load", "source": {"type": "process", "command": load}, "depends_on": "rows"}
    return load_flow({"name": "loops", "flow": [rows, loads], **more})
