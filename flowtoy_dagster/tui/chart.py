"""The steps of a run as bars by time, as text."""

from __future__ import annotations

from rich.text import Text

from flowtoy_dagster.progress.words import seconds
from flowtoy_dagster.runs.status.models import RunStatus, StepStatus
from flowtoy_dagster.terminal import plain
from flowtoy_dagster.tui.texts import style_of

_NAME = 24
"""Columns of the longest name that is shown."""
_SHORTEST = 10
_DRAWN = {"attempt": "━", "wait": "╌", "pause": "·"}


def chart_text(status: RunStatus, width: int, now: float) -> Text:
    """A line for each step, with its attempts, its waits and the pauses between two.

    Args:
        status: the state of the run.
        width: columns.
        now: seconds since 1970.
    """
    if status.started_at is None:
        return Text("the run has not started yet", "dim")
    begin = status.started_at
    end = max(status.ended_at or now, begin + 0.1)
    names = min(_NAME, width // 3, max(len(plain(name)) for name in status.steps))
    length = max(_SHORTEST, width - names - 2)
    text = Text(" " * (names + 2), no_wrap=True)
    total = seconds(end - begin)
    text.append(f"0{total:>{length - 1}}\n", "dim")
    for step in status.steps.values():
        name = Text(plain(step.name))
        name.truncate(names, overflow="ellipsis", pad=True)
        text.append_text(name).append("  ")
        text.append(_bar(step, begin, end, length), style_of(step.state)).append("\n")
    legend = "━ attempt  ╌ waits  · pause"
    return text.append(f"\n{legend}", "dim")


def _bar(step: StepStatus, begin: float, end: float, length: int) -> str:
    """A step's time, as many characters as asked for."""
    cells = [" "] * length
    if step.reused or step.started_at is None:
        return "reused" if step.reused else ""
    parts = [(span.kind, span.started_at, span.ended_at) for span in step.timeline]
    for kind, since, until in parts or [("attempt", step.started_at, step.ended_at)]:
        first = _cell(since, begin, end, length)
        last = _cell(until or step.ended_at or end, begin, end, length)
        cells[first : last + 1] = _DRAWN[kind] * (last + 1 - first)
    return "".join(cells).rstrip()


def _cell(moment: float, begin: float, end: float, length: int) -> int:
    share = (moment - begin) / (end - begin)
    return min(length - 1, max(0, int(share * length)))
