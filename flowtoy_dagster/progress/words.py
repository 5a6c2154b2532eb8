"""The words for a step's state, a time span and a run's counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.flow.places import failure_place, shown_place

if TYPE_CHECKING:
    from flowtoy_dagster.runs.status.models import (
        Change,
        CursorStatus,
        ItemsStatus,
        RunStatus,
        StepStatus,
    )


def change_lines(change: Change, width: int, flow: Flow | None = None) -> Iterator[str]:
    """The lines for a change: one, and more for a failure or a warning.

    Args:
        change: what has happened.
        width: characters that the step's name is padded to.
        flow: what is run, as it was read.
    """
    step = change.step
    moment = time.localtime(change.timestamp)
    milliseconds = int(change.timestamp * 1000) % 1000
    stamp = f"{time.strftime('%H:%M:%S', moment)}.{milliseconds:03d}"
    if change.warning is not None:
        yield f"{stamp}  {step.name:<{width}}  warning: {change.warning.message}"
        if change.warning.place is not None:
            yield f"    place:  {shown_place(change.warning.place)}"
        return
    yield f"{stamp}  {step.name:<{width}}  {what(change)}"
    if step.state == "failed":
        if step.called:
            yield f"    called: {step.called}"
        yield f"    reason: {step.error}"
        for line in step.stderr.splitlines():
            yield f"    stderr: {line}"
        place = step.place
        if place is None and flow is not None:
            place = failure_place(flow, step.name, step.error or "")
        if place is not None:
            yield f"    place:  {shown_place(place)}"


def what(change: Change) -> str:
    """What has become of a step."""
    step = change.step
    if change.retry_in is not None:
        return f"attempt {step.attempt} failed, next in {seconds(change.retry_in)}: {change.reason}"
    if step.state == "running" and step.waits_for:
        return step.waits_for
    if step.state == "running":
        attempt = f", attempt {step.attempt}" if step.attempt > 1 else ""
        return f"running{attempt}{_with_items(step)}"
    if step.state == "skipped":
        return f"skipped: {step.error}" if step.error else "skipped"
    if step.elapsed is None:
        return f"{step.state}{_with_items(step)}"
    link = "in" if step.state == "succeeded" else "after"
    return f"{step.state} {link} {seconds(step.elapsed)}{_with_items(step)}"


def items_words(items: ItemsStatus) -> str:
    """How far a repeated step is: `3 of 800 failed`, `120 of 800 items, 3 failed`."""
    total = f"{items.total:,}"
    if items.ended == items.total:
        told = [f"{items.failed:,} of {total} failed"] if items.failed else [f"{total} items"]
    else:
        told = [f"{items.ended:,} of {total} items"]
        told += [f"{items.failed:,} failed"] if items.failed else []
    told += [f"{items.skipped:,} skipped"] if items.skipped else []
    told += [f"{items.reused:,} reused"] if items.reused else []
    return ", ".join(told)


def _with_items(step: StepStatus) -> str:
    return f", {items_words(step.items)}" if step.items is not None else ""


def cursor_words(name: str, cursor: CursorStatus) -> str:
    """What has become of the cursor of a step with `incremental`."""
    whose = f"{name} ({cursor.key})" if cursor.key else name
    if cursor.items is not None:
        told = f": {cursor.reason}" if cursor.reason else ""
        return f"{whose}: the cursors of its items: {cursor.items.words}{told}"
    if cursor.state == "stored":
        return f"{whose}: the cursor is stored: {cursor.value}"
    state = "is not stored" if cursor.state == "held" else "is unchanged"
    return f"{whose}: the cursor {state}" + (f": {cursor.reason}" if cursor.reason else "")


def cursor_move(cursor: CursorStatus) -> str:
    """How the cursor of a step moved: `2026-01-01 → 2026-02-01, stored`."""
    before = cursor.last_value if cursor.last_value is not None else cursor.start_value
    state: str = "not stored" if cursor.state == "held" else cursor.state
    if cursor.items is not None:
        state = cursor.items.words
    moved = [value for value in (before, cursor.value) if value is not None]
    told = ", ".join(filter(None, [" → ".join(moved), state]))
    told += f": {cursor.reason}" if cursor.reason else ""
    return f"{cursor.key}: {told}" if cursor.key else told


def held_cursors(status: RunStatus) -> Iterator[str]:
    """A line for each cursor that something holds back."""
    for step in status.steps.values():
        if step.cursor is not None and step.cursor.state == "held":
            yield cursor_words(step.name, step.cursor)


def summary(status: RunStatus, elapsed: float) -> str:
    """The last line: the counts, the time, and where to look."""
    return (
        f"{status.verdict}: {counts(status)} in {seconds(elapsed)}; "
        f"flowtoy runs show {status.run_id[:8]}"
    )


def counts(status: RunStatus) -> str:
    """How many steps ended how: `3 succeeded, 1 failed`."""
    return ", ".join(
        f"{status.count(state)} {state}"
        for state in ("succeeded", "failed", "skipped")
        if status.count(state) or state == "succeeded"
    )


def seconds(value: float) -> str:
    """A time span for people; never negative, though a clock may have been set in between."""
    value = max(0.0, value)
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def name_width(names: list[str]) -> int:
    """Characters that names are padded to."""
    return min(40, max(map(len, names)))
