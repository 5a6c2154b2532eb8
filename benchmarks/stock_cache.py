"""Stock Dagster's times, kept: a run of 100 steps takes it minutes."""

from __future__ import annotations

import json
import time
from pathlib import Path

from measure import machine
from workloads import Workload


class StockCache:
    """A JSON file of times by machine, versions and workload.

    Args:
        file: need not be there yet.
        fresh: whether what was kept before is measured again.
    """

    def __init__(self, file: Path, *, fresh: bool) -> None:
        self._file = file
        self._kept = json.loads(file.read_text()) if file.exists() and not fresh else {}
        self._facts = ", ".join(machine().values())

    def get(self, workload: Workload, repeats: int) -> tuple[list[float], str] | None:
        """The times and the day of measuring; None where there are not `repeats` of them."""
        found = self._kept.get(self._key(workload))
        if found is None or len(found["times"]) < repeats:
            return None
        return found["times"], found["day"]

    def put(self, workload: Workload, times: list[float]) -> None:
        """Keep the times of a workload."""
        day = time.strftime("%Y-%m-%d")
        self._kept[self._key(workload)] = {"times": times, "day": day}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self._kept, indent=1), encoding="utf-8")

    def _key(self, workload: Workload) -> str:
        return f"{workload.name} {workload.fingerprint}: {self._facts}"
