"""Snapshots of plans, which take long to read: each names thousands of steps."""

from __future__ import annotations

from typing import Any


class KeptPlanSnapshot:
    """A run storage that knows the latest snapshot of a plan by heart.

    Dagster reads it twice while a run is created and started: to see whether it is there, and for
    what the run was created with. Its id is the hash of all that is in it, so it can't be stale.
    """

    _latest: tuple[str, Any] = "", None

    def has_execution_plan_snapshot(self, execution_plan_snapshot_id: str) -> bool:
        """Whether a snapshot is stored; it is not read for that."""
        return bool(self._has_snapshot_id(execution_plan_snapshot_id))  # type: ignore[attr-defined]

    def add_execution_plan_snapshot(self, execution_plan_snapshot: Any) -> str:
        """Store a snapshot; returns its id."""
        storage: Any = super()
        snapshot_id: str = storage.add_execution_plan_snapshot(execution_plan_snapshot)
        self._latest = snapshot_id, execution_plan_snapshot
        return snapshot_id

    def get_execution_plan_snapshot(self, execution_plan_snapshot_id: str) -> Any:
        """A snapshot; None where it is not stored, or can't be read."""
        known_id, known = self._latest
        if known_id == execution_plan_snapshot_id:
            return known
        storage: Any = super()
        found = storage.get_execution_plan_snapshot(execution_plan_snapshot_id)
        if found is not None:
            self._latest = execution_plan_snapshot_id, found
        return found
