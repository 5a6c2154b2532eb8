"""What a worker must know of a run: from the database, and from what this machine has itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import dagster as dg

from flowtoy_dagster.engine.dagster_private.execution import RetryMode
from flowtoy_dagster.engine.executors.warm.worker import Surroundings, WorkerSetup
from flowtoy_dagster.engine.storage.connections.broken import again_where_broken
from flowtoy_dagster.engine.storage.instances import saved_job
from flowtoy_dagster.engine.tags import CONFIG_TAG
from flowtoy_dagster.errors import RunError
from flowtoy_dagster.store.configs import configs_of

UNUSED = 30.0
"""Seconds without a step after which the workers of a run end."""
_QUICK = 0.2
"""Seconds in which a database and a store that are there have shown what a run has."""


class _Search(threading.Thread):
    """Looks for what a run has, in the database and in the shared files.

    Both may not answer for long, and the thread of the agent has leases to renew.
    """

    def __init__(self, find: Callable[[], WorkerSetup], on_end: Callable[[], object]) -> None:
        super().__init__(name="flowtoy-search", daemon=True)
        self._find = find
        self._on_end = on_end
        self.found: WorkerSetup | None = None
        self.error: Exception | None = None
        self.ended = threading.Event()

    def run(self) -> None:
        """Look for it."""
        try:
            self.found = again_where_broken(self._find)
        except Exception as error:  # noqa: BLE001 - who waits for this learns of it
            self.error = error
        self.ended.set()
        self._on_end()


class Setups:
    """The setups of the runs of which this agent has steps.

    Args:
        instance: Dagster's instance of this machine's home.
        home: that home.
    """

    def __init__(self, instance: dg.DagsterInstance, home: Path) -> None:
        self._instance = instance
        self._home = home
        self._setups: dict[str, WorkerSetup] = {}
        self._used_at: dict[str, float] = {}
        self._searches: dict[str, _Search] = {}

    def of(
        self, run_id: str, began: float, on_found: Callable[[], object]
    ) -> WorkerSetup | None:
        """What all steps of a run have in common.

        Args:
            run_id: the run.
            began: when it began, by the monotonic clock.
            on_found: called in another thread where this is to be asked again.

        Returns:
            None while it is looked for in the database and in the shared files.

        Raises:
            RunError: the run is not one of a flow.
            HomeError: its configuration can't be found.
        """
        self._used_at[run_id] = time.monotonic()
        if run_id in self._setups:
            return self._setups[run_id]
        search = self._searches.get(run_id)
        if search is None:
            find = partial(self._find, run_id, began)
            search = self._searches[run_id] = _Search(find, on_found)
            search.start()
            search.ended.wait(_QUICK)
        if not search.ended.is_set():
            return None
        del self._searches[run_id]
        if search.found is None:
            raise search.error or RunError("nothing was found")
        self._setups[run_id] = search.found
        return search.found

    def in_use(self) -> list[WorkerSetup]:
        """The setups that were used a short time ago; others are forgotten."""
        for run_id, used_at in list(self._used_at.items()):
            if time.monotonic() - used_at > UNUSED:
                del self._used_at[run_id]
                self._setups.pop(run_id, None)
                self._searches.pop(run_id, None)
        return list(self._setups.values())

    def _find(self, run_id: str, began: float) -> WorkerSetup:
        run, reference = self._run(run_id)
        configs_of(self._home).check(reference)
        return self._make(run, reference, began)

    def _run(self, run_id: str) -> tuple[dg.DagsterRun, str]:
        """A run, and the hash of its configuration."""
        run = self._instance.get_run_by_id(run_id)
        if run is None:
            raise RunError(f"run {run_id[:8]} has been deleted")
        reference = run.tags.get(CONFIG_TAG)
        if reference is None:
            raise RunError("it is not a step of a flow")
        return run, reference

    def _make(self, run: dg.DagsterRun, reference: str, began: float) -> WorkerSetup:
        snapshot_id = run.execution_plan_snapshot_id
        snapshot = self._instance.get_execution_plan_snapshot(snapshot_id) if snapshot_id else None
        known = snapshot.initial_known_state if snapshot else None
        return WorkerSetup(
            surroundings=Surroundings.of_here(self._instance),
            # By its hash: the run's own origin has paths of the machine that made it.
            job=saved_job((reference, str(self._home))),
            run=run,
            retry_mode=RetryMode.ENABLED,
            repository_load_data=snapshot.repository_load_data if snapshot else None,
            parent_state=known.parent_state if known else None,
            began=began,
        )
