"""Shops whose new rows a loop loads, each with a cursor of its own; what was called and loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowtoy_dagster import load_flow
from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.store.cursors import cursors_of


@dataclass
class Shops:
    """A folder that has the rows of each shop, and a flow that loads them.

    Attributes:
        folder: the folder.
        executor: runs the flow.
        queue: where its steps wait.
        concurrency: how many shops are read at once.
    """

    folder: Path
    executor: str = "workers"
    queue: str = "default"
    concurrency: int = 1

    @property
    def name(self) -> str:
        """The flow's name."""
        return f"shops of {self.folder.name}"

    def write(self, **numbers: list[int]) -> None:
        """What each shop has from now on."""
        for shop, values in numbers.items():
            (self.folder / shop).write_text(json.dumps([{"n": value} for value in values]))

    def flow(self, shops: str = "abc", load: str = "true", **incremental: Any) -> Flow:
        """The flow; an item runs the folder's program `before-SHOP`, if there is one.

        Args:
            shops: a letter for each.
            load: a shell command that runs before anything is loaded.
            incremental: more keys of `incremental`.
        """
        read = (
            f"cd {self.folder}; echo {{{{ item }}}} {{{{ incremental.start_value }}}} >> calls; "
            "test ! -x before-{{ item }} || ./before-{{ item }}; cat {{ item }}"
        )
        rows = {
            "name": "rows",
            "retry": {"max": 2, "delay": 0, "on": "crash"},
            "for_each": {"in": list(shops), "key": "{{ item }}",
                         "concurrency": self.concurrency},
            "source": {"type": "process", "command": read},
            "incremental": {"cursor_path": "n", "initial_value": 0, **incremental},
            "output": [{"name": "numbers", "value": "[].n"}],
        }
        numbers = "{{ flows.rows.numbers | join(' ') }}"
        into = f"cd {self.folder}; {load} && echo {numbers} >> loaded"
        loads = {"name": "load", "source": {"type": "process", "command": into}}
        runner = {"executor": self.executor, "executor_options": {"queue": self.queue}}
        return load_flow({"name": self.name, "flow": [rows, loads], "runner": runner})

    def before(self, shop: str, script: str) -> None:
        """A shell script that runs before a shop is read."""
        path = self.folder / f"before-{shop}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)

    def hold(self, shops: str) -> None:
        """Have the calls of these shops wait until the file `go` is there.

        Each call that waits makes the file `waits-SHOP`.
        """
        for shop in shops:
            waits = f"touch waits-{shop}; until test -e go; do sleep 0.05; done"
            self.before(shop, f"test -e go || {{ {waits}; }}")

    def calls(self) -> list[str]:
        """The shops that were read since the last time, and from where on."""
        return self._taken("calls").splitlines()

    def loaded(self) -> set[int]:
        """The numbers that were loaded since the last time."""
        text = self._taken("loaded").replace("[", " ").replace("]", " ").replace(",", " ")
        return set(map(int, text.split()))

    def stored(self) -> dict[str, Any]:
        """The stored value of each shop, as the machine of the run sees it."""
        found = cursors_of(open_home()).items(self.name, "rows")
        return {item: one.value for item, one in found.items()}

    def _taken(self, name: str) -> str:
        path = self.folder / name
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return text
