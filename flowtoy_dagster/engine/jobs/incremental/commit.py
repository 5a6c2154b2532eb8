"""Storing the new value of a cursor, unless somebody else has moved it (language 22.4)."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from typing import Any, NamedTuple

from flowtoy_dagster.engine.jobs.incremental.ends import CursorEnd
from flowtoy_dagster.errors import StepError, system_reason
from flowtoy_dagster.masking.mask import HIDDEN, Mask
from flowtoy_dagster.steps.state.cursors import CursorUse, StoredCursor
from flowtoy_dagster.store.cursors import CursorStore

NOTHING_NEWER = "nothing newer was read"
_LONGEST = 200
"""Characters of a value that are shown."""


class CursorCommit(NamedTuple):
    """The cursor of one step, or of one item of it, at the end of the step or of its run.

    Attributes:
        flow: the flow's name.
        step: the step's name.
        step_key: the step's key in Dagster.
        use: what the step has used and read.
        mask: hides secrets in what is shown.
        run_id: the run.
        lineage: the runs of which it is a retry, and itself.
        item: the key of the item; None where the step is not repeated.
    """

    flow: str
    step: str
    step_key: str
    use: CursorUse
    mask: Mask
    run_id: str
    lineage: Collection[str] = ()
    item: str | None = None

    @property
    def moves(self) -> bool:
        """Whether there is a new value."""
        return self.use.value is not None

    @property
    def new(self) -> StoredCursor:
        """What is to be stored."""
        return StoredCursor(
            self.flow, self.step, self.use.key, self.use.value, run_id=self.run_id,
            secret=self._is_secret, item=self.item,
        )

    def store(self, cursors: CursorStore) -> CursorEnd:
        """Store the new value; what prevents that is the reason in the result, no exception."""
        if not self.moves:
            return self.report("unchanged", NOTHING_NEWER)
        try:
            instead = cursors.swap(self.new, self.use.version)
        except (OSError, StepError) as error:
            return self.report("held", why_not_written(error, self.mask))
        reason = self.held_by(instead)
        return self.report("stored") if reason is None else self.report("held", reason)

    def held_by(self, instead: StoredCursor | None) -> str | None:
        """Why the value was not stored; None where it was.

        Args:
            instead: what the store has instead of it, as `CursorStore.swap` gives it.
        """
        if instead is None:
            return None
        if instead.value == self.use.value and instead.run_id in self.lineage:
            return None
        return self._who_was_faster(instead)

    def report(self, state: Any, reason: str | None = None) -> CursorEnd:
        """The report on the cursor, secrets hidden."""
        use = self.use
        return CursorEnd(
            self.mask.text(self.step), self.step_key, state, reason,
            self._shown(use.start_value), self._shown(use.last_value), self._shown(use.value),
            self.mask.text(use.key)[:_LONGEST],
        )

    @property
    def _is_secret(self) -> bool:
        """Whether the value is hidden where it is shown: as it says, or as it holds a secret."""
        text = str(self.use.value)
        return self.use.secret or self.mask.text(text) != text

    def _shown(self, value: Any) -> str | None:
        if value is None:
            return None
        if self.use.secret:
            return HIDDEN
        text = self.mask.text(value if isinstance(value, str) else json.dumps(value))
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"

    def _who_was_faster(self, instead: StoredCursor) -> str:
        to = f" to {self._shown(instead.value)}" if instead.value is not None else ""
        if not instead.version:
            return "what was stored is gone"
        if instead.run_id is not None:
            return f"run {instead.run_id[:8]} was faster: it moved the cursor{to}"
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(instead.stored_at))
        what = "set it" if instead.value is not None else "reset it"
        return f"somebody has {what}{to} meanwhile, at {at}"


def why_not_written(error: OSError | StepError, mask: Mask) -> str:
    """Why a value could not be written."""
    if isinstance(error, OSError):
        return f"it can't be written: {system_reason(error)}"
    return mask.text(error.message)
