"""What becomes of the new value of a step's cursor, as an event in the history of its run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from dagster import DagsterEvent, DagsterEventType, ExpectationResult, MetadataValue

from flowtoy_dagster.engine.dagster_private.jobs import EngineEventData
from flowtoy_dagster.engine.jobs.events.event_text import bounded, check_event
from flowtoy_dagster.steps.state.cursors import CursorCounts, told_facts

CURSORS = "cursors"
"""The metadata of such an event: a list of what `CursorEnd.facts` gives."""
CursorState = Literal["stored", "unchanged", "held"]


class CursorEnd(NamedTuple):
    """What has become of a step's cursor; values as text, secrets hidden.

    Attributes:
        step: the step's name, secrets hidden.
        step_key: its key in Dagster.
        state: whether the new value was stored, there was none, or something holds it back.
        reason: what holds it back.
        start_value: where the step began.
        last_value: the same without the lag.
        value: the new value; None where there is none.
        key: identifies one of several values of a step.
        items: how many cursors of items have become what; None where the step is not repeated.
    """

    step: str
    step_key: str
    state: CursorState
    reason: str | None = None
    start_value: str | None = None
    last_value: str | None = None
    value: str | None = None
    key: str = ""
    items: CursorCounts | None = None

    def facts(self) -> dict[str, Any]:
        """It as plain data."""
        return told_facts(self)

    @property
    def words(self) -> str:
        """It in one line."""
        name = f"'{self.step}'" + (f" ({self.key})" if self.key else "")
        if self.items is not None:
            told = f": {self.reason}" if self.reason else ""
            return f"the cursors of the items of {name}: {self.items.words}{told}"
        if self.state == "stored":
            return f"the cursor of {name} is stored: {self.value}"
        if self.state == "held":
            return f"the cursor of {name} is not stored: {self.reason}"
        return f"the cursor of {name} is unchanged" + (f": {self.reason}" if self.reason else "")


def cursor_event(context: Any, ends: Sequence[CursorEnd]) -> DagsterEvent:
    """An event, stored already, that says what has become of cursors.

    Args:
        context: Dagster's context of the run or of a step.
        ends: one for each cursor.
    """
    data = EngineEventData(metadata={CURSORS: _facts(ends)})
    return DagsterEvent.engine_event(context, "; ".join(end.words for end in ends), data)


def cursor_check(end: CursorEnd) -> ExpectationResult:
    """An event of a step that says what has become of its cursor."""
    return check_event(
        end.state != "held", CURSORS, bounded(end.words), {CURSORS: _facts([end])}
    )


def cursor_ends(event: DagsterEvent) -> Iterable[CursorEnd]:
    """What such events say; nothing for other events."""
    metadata = None
    if event.is_engine_event and event.event_specific_data:
        metadata = event.engine_event_data.metadata
    elif event.event_type == DagsterEventType.STEP_EXPECTATION_RESULT:
        metadata = event.step_expectation_result_data.expectation_result.metadata
    found = metadata.get(CURSORS) if metadata else None
    if found is None:
        return ()
    return [_read(facts) for facts in json.loads(str(found.value))]


def _read(facts: dict[str, Any]) -> CursorEnd:
    items = facts.get("items")
    counts = CursorCounts(**items) if items is not None else None
    return CursorEnd(**{**facts, "items": counts})


def _facts(ends: Sequence[CursorEnd]) -> MetadataValue[Any]:
    return MetadataValue.text(json.dumps([end.facts() for end in ends], ensure_ascii=False))
