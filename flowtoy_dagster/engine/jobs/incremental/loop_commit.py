"""Storing the new values of the cursors of a step's items (language 22.6)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from flowtoy_dagster.engine.jobs.incremental.commit import (
    NOTHING_NEWER,
    CursorCommit,
    why_not_written,
)
from flowtoy_dagster.engine.jobs.incremental.ends import CursorEnd
from flowtoy_dagster.errors import StepError
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.steps.loops.for_each import shown_key
from flowtoy_dagster.steps.state.cursors import CursorCounts
from flowtoy_dagster.steps.state.items import ItemResult
from flowtoy_dagster.store.cursors import CursorStore


class LoopCommit(NamedTuple):
    """The cursors of a step's items at the end of the step, or of its run.

    Attributes:
        flow: the flow's name.
        step: the step's name.
        step_key: the step's key in Dagster.
        moving: one for each item that has a new value.
        others: how many items have none.
        mask: hides secrets in what is shown.
    """

    flow: str
    step: str
    step_key: str
    moving: Sequence[CursorCommit]
    others: int
    mask: Mask

    @property
    def moves(self) -> bool:
        """Whether there is a new value."""
        return bool(self.moving)

    def store(self, cursors: CursorStore) -> CursorEnd:
        """Store the new values; what prevents that is the reason in the result, no exception."""
        if not self.moves:
            return self.report("unchanged", NOTHING_NEWER)
        try:
            instead = cursors.swap_items([(one.new, one.use.version) for one in self.moving])
        except (OSError, StepError) as error:
            return self.report("held", why_not_written(error, self.mask))
        held = [
            f"item {shown_key(one.mask.text(one.item or ''))}: {reason}"
            for one, other in zip(self.moving, instead, strict=True)
            if (reason := one.held_by(other)) is not None
        ]
        counts = CursorCounts(len(self.moving) - len(held), self.others, len(held))
        if not held:
            return self._end("stored", None, counts)
        more = f"; so were {len(held) - 1:,} more" if len(held) > 1 else ""
        return self._end("held", f"{held[0]}{more}", counts)

    def report(self, state: Any, reason: str | None = None) -> CursorEnd:
        """The report on all cursors where none is stored, secrets hidden."""
        moving = len(self.moving)
        counts = CursorCounts(0, self.others, moving)
        if state == "unchanged":
            counts = CursorCounts(0, self.others + moving, 0)
        return self._end(state, reason, counts)

    def _end(self, state: Any, reason: str | None, counts: CursorCounts) -> CursorEnd:
        key = self.moving[0].use.key if self.moving else ""
        return CursorEnd(
            self.mask.text(self.step), self.step_key, state, reason, key=self.mask.text(key),
            items=counts,
        )


def loop_commit(
    place: tuple[str, str, str],
    items: Iterable[ItemResult],
    mask: Mask,
    run_id: str,
    lineage: Collection[str],
) -> LoopCommit:
    """What is to be stored of a step's items.

    Args:
        place: the flow's name, the step's name, and the step's key in Dagster.
        items: what became of them.
        mask: hides secrets in what is shown.
        run_id: the run.
        lineage: the runs of which it is a retry, and itself.
    """
    moving: list[CursorCommit] = []
    others = 0
    for item in items:
        use = item.cursor
        if item.state != "succeeded" or use is None or use.value is None:
            others += 1
            continue
        hidden = mask.including(item.secrets) if item.secrets else mask
        moving.append(CursorCommit(*place, use, hidden, run_id, lineage, item.key))
    return LoopCommit(*place, moving, others, mask)
