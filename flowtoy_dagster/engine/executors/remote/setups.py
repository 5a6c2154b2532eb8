"""What a worker must know of a run: from the database, and from what this machine has itself."""

from __future__ import annotations

import time
from pathlib import Path

import dagster as dg

from flowtoy_dagster.engine.dagster_private.execution import RetryMode
from flowtoy_dagster.engine.executors.warm.worker import Surroundings, WorkerSetup
from flowtoy_dagster.engine.storage.instances import saved_job
from flowtoy_dagster.engine.tags import CONFIG_TAG
from flowtoy_dagster.errors import RunError
from flowtoy_dagster.store.configs import configs_of
from flowtoy_dagster.store.shared.shared_files import FILES_VARIABLE

UNUSED = 30.0
"""Seconds without a step after which the workers of a run end."""


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

    def of(self, run_id: str, elapsed: float) -> WorkerSetup:
        """What all steps of a run have in common.

        Args:
            run_id: the run.
            elapsed: seconds since it began.

        Raises:
            RunError: the run is not one of a flow, or its configuration is not on this machine.
        """
        self._used_at[run_id] = time.monotonic()
        if run_id not in self._setups:
            self._setups[run_id] = self._make(run_id, time.monotonic() - elapsed)
        return self._setups[run_id]

    def in_use(self) -> list[WorkerSetup]:
        """The setups that were used a short time ago; others are forgotten."""
        for run_id, used_at in list(self._used_at.items()):
            if time.monotonic() - used_at > UNUSED:
                del self._used_at[run_id]
                self._setups.pop(run_id, None)
        return list(self._setups.values())

    def _make(self, run_id: str, began: float) -> WorkerSetup:
        run = self._instance.get_run_by_id(run_id)
        if run is None:
            raise RunError(f"run {run_id[:8]} has been deleted")
        reference = run.tags.get(CONFIG_TAG)
        if reference is None:
            raise RunError("it is not a step of a flow")
        if configs_of(self._home).read(reference) is None:
            raise RunError(
                f"the configuration of the run is not in {self._home}; set {FILES_VARIABLE} to a "
                "folder or URL that all machines of the deployment share"
            )
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
