"""What the live area shows of a run: which steps, and in which words."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, NamedTuple

from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.progress.area import Line
from flowtoy_dagster.progress.words import items_words, name_width, seconds, what
from flowtoy_dagster.terminal import plain

if TYPE_CHECKING:
    from flowtoy_dagster.runs.status.models import Change

RECENT = 5
"""Steps that have ended that are shown where there is no room for all."""
_BAR = 24
_STYLES = {"succeeded": "good", "failed": "bad", "skipped": "warn", "running": "busy"}


class Marks(NamedTuple):
    """The signs of one character set."""

    succeeded: str
    failed: str
    skipped: str
    retrying: str
    pending: str
    running: str
    done: str
    todo: str


_PRETTY = Marks("✓", "✗", "-", "↻", "·", "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "━", "─")
_ASCII = Marks("+", "x", "-", "~", ".", "|/-\\", "#", "-")


class Board:
    """The steps of a run as lines for a terminal.

    Args:
        flow: what is run.
        reused: the steps of which nothing will be heard, because they succeeded before.
        unicode: whether the terminal has more than ASCII.
    """

    def __init__(self, flow: Flow, reused: Collection[str], *, unicode: bool) -> None:
        self._upstream = {step.name: step.upstream for step in flow.steps}
        self._names = {name: plain(name) for name in self._upstream}
        self._width = name_width(list(self._names.values()))
        self._reused = frozenset(reused)
        self._changes: dict[str, Change] = {}
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._marks = _PRETTY if unicode else _ASCII

    def take_in(self, change: Change) -> None:
        """Remember the latest change of a step."""
        name = change.step.name
        self._changes[name] = change
        if _has_ended(change):
            self._recent.append(name)

    def frame(self, height: int, now: float, elapsed: float) -> Iterator[Line]:
        """The lines of this moment: steps, and the bar below them.

        Args:
            height: lines of the terminal; the frame has fewer.
            now: seconds since 1970.
            elapsed: seconds since the run began.
        """
        room = max(0, height - 2)
        if len(self._names) <= room:
            yield from (self._row(name, now) for name in self._names)
        else:
            yield from self._chosen_rows(room, now)
        yield self._bar(elapsed)

    def final(self, height: int, now: float) -> Iterator[Line]:
        """What stays when the run has ended: every step, or nothing where there are too many."""
        if len(self._names) <= height - 2:
            yield from (self._row(name, now) for name in self._names)

    def _chosen_rows(self, room: int, now: float) -> Iterator[Line]:
        active = [
            name for name in self._names
            if name in self._changes and not _has_ended(self._changes[name])
        ]
        for name in list(self._recent)[-max(0, room - len(active)) :] if room > len(active) else ():
            yield self._row(name, now)
        fitting = active if len(active) <= room else active[: max(0, room - 1)]
        for name in fitting:
            yield self._row(name, now)
        if room and len(fitting) < len(active):
            yield [("dim", f"  … and {len(active) - len(fitting)} more")]

    def _row(self, name: str, now: float) -> Line:
        mark, style, text = self._state(name, now)
        padding = " " * (self._width - len(self._names[name]))
        return [
            (style, f"{mark} "),
            ("dim" if style == "dim" else "", self._names[name] + padding),
            (style if style in ("bad", "warn", "dim") else "", f"  {plain(text)}"),
        ]

    def _state(self, name: str, now: float) -> tuple[str, str, str]:
        """Mark, style and words for a step."""
        change = self._changes.get(name)
        if change is None:
            if name in self._reused:
                return self._marks.succeeded, "good", "reused"
            return self._marks.pending, "dim", self._waits_for(name)
        step = change.step
        if change.retry_in is not None:
            left = max(0.0, change.timestamp + change.retry_in - now)
            told = f"attempt {step.attempt} failed, next in {seconds(left)}: {change.reason}"
            return self._marks.retrying, "warn", told
        if step.state == "running":
            spinner = self._marks.running
            elapsed = seconds(max(0.0, now - (step.started_at or now)))
            told = f"running {elapsed}" + (f", attempt {step.attempt}" if step.attempt > 1 else "")
            told += f", {step.waits_for}" if step.waits_for else ""
            if step.items is not None:
                told += f", {items_words(step.items)}"
            return spinner[int(now * 8) % len(spinner)], "busy", told
        return getattr(self._marks, step.state, ""), _STYLES.get(step.state, ""), what(change)

    def _waits_for(self, name: str) -> str:
        open_ones = [
            self._names[other] for other in self._upstream[name]
            if other not in self._reused
            and (other not in self._changes or not _has_ended(self._changes[other]))
        ]
        return f"waits for {', '.join(open_ones)}" if open_ones else "waits for its turn"

    def _bar(self, elapsed: float) -> Line:
        states = [
            change.step.state if change.retry_in is None else "to be retried"
            for change in list(self._changes.values())
        ]
        total = len(self._names)
        shown = ("running", "to be retried", "failed", "skipped")
        counts = {state: states.count(state) for state in shown}
        done = len(states) - counts["running"] - counts["to be retried"] + len(self._reused)
        filled = _BAR * done // total
        told = [f"{done}/{total}"]
        told += [f"{count} {state}" for state, count in counts.items() if count]
        return [
            ("bad" if counts["failed"] else "good", self._marks.done * filled),
            ("dim", self._marks.todo * (_BAR - filled)),
            ("", f"  {'  '.join(told)}  "),
            ("dim", seconds(elapsed)),
        ]


def _has_ended(change: Change) -> bool:
    return change.retry_in is None and change.step.state not in ("pending", "running")
