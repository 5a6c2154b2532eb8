"""Which run of a home a name stands for: an id, the beginning of one, `last`, or `failed`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import dagster as dg

from flowtoy_dagster.engine.tags import FLOW_TAG
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.runs.wanted.filters import WantedRuns

LAST = "last"
FAILED = "failed"
_EMPTY = ("", f"{LAST}:", f"{FAILED}:")


class KnownRuns(Protocol):
    """The runs among which one is found."""

    def by_id(self, run_id: str) -> dg.DagsterRun | None:
        """The run of an id, of a flow or not."""

    def latest(self, wanted: WantedRuns) -> dg.DagsterRun | None:
        """The newest run of a flow that is wanted."""

    def own_runs(self) -> Sequence[dg.DagsterRun]:
        """The runs of flows, the newest first."""


def named_run(runs: KnownRuns, name: str) -> dg.DagsterRun:
    """The run of an id, of a unique beginning of one, `last`, `failed`, or `last:FLOW`.

    Raises:
        UsageError: there is none, or several begin so, or it is a run of something else.
    """
    word, _, flow = name.partition(":")
    if name in _EMPTY:
        raise UsageError(f"'{name}' names no run\n    write an id, last or last:FLOW")
    if word in (LAST, FAILED):
        return _latest(runs, word, flow or None)
    exact = runs.by_id(name)
    if exact is None:
        return _by_beginning(runs, name)
    if FLOW_TAG not in exact.tags:
        raise UsageError(f"run '{name}' is not a run of a flow; Dagster's tools show it")
    return exact


def _latest(runs: KnownRuns, word: str, flow: str | None) -> dg.DagsterRun:
    state = FAILED if word == FAILED else None
    found = runs.latest(WantedRuns(flow, state))
    if found is not None:
        return found
    what = "failed run" if state else "run"
    which = "yet" if flow is None else f"of a flow '{flow}'\n    flowtoy runs lists them"
    raise UsageError(f"there is no {what} {which}")


def _by_beginning(runs: KnownRuns, name: str) -> dg.DagsterRun:
    found = [run for run in runs.own_runs() if run.run_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(run.run_id[:12] for run in found[:5])
        raise UsageError(f"several runs begin with '{name}': {ids}")
    hint = "flowtoy runs lists them"
    if name.endswith((".yaml", ".yml")):
        hint = "runs are named by id, last or last:FLOW"
    raise UsageError(f"there is no run '{name}'\n    {hint}")
