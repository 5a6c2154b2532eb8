"""The state of a run and of each of its steps, as plain data. No Dagster in here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from flowtoy_dagster.steps.state.cursors import CursorCounts

State = Literal["pending", "running", "succeeded", "failed", "skipped"]
RunState = Literal["pending", "running", "succeeded", "failed", "cancelled"]

WITH_FAILURES = "finished with failures"
"""What is said of a run that succeeded although steps failed."""


class ItemsStatus(NamedTuple):
    """How far a repeated step is with its items.

    Attributes:
        reused: those of the succeeded ones that were not called again.
        failures: key and reason of the first that failed.
    """

    total: int
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    reused: int = 0
    failures: tuple[tuple[str, str], ...] = ()

    @property
    def ended(self) -> int:
        """How many have ended."""
        return self.succeeded + self.failed + self.skipped


class StepWarning(NamedTuple):
    """What a step warns of while it runs.

    Attributes:
        message: what may not be as it is meant.
        place: where in the flow's files that is: file, line and column; None where there is none.
    """

    message: str
    place: str | None = None


MOST_WARNINGS = 20
"""Warnings of one step that are kept."""

CursorState = Literal["stored", "unchanged", "held"]


class CursorStatus(NamedTuple):
    """What has become of the cursor of a step with `incremental`; values are texts.

    Attributes:
        state: whether the new value was stored, there was none, or something holds it back.
        reason: what holds it back, or why there was none.
        start_value: where the step began; None where that is not known.
        last_value: the same without the lag.
        value: the new value.
        key: identifies one of several values of a step; empty where there is one.
        items: how many cursors of items have become what; None where the step is not repeated.
    """

    state: CursorState
    reason: str | None = None
    start_value: str | None = None
    last_value: str | None = None
    value: str | None = None
    key: str = ""
    items: CursorCounts | None = None


SpanKind = Literal["attempt", "wait", "pause"]


@dataclass
class Span:
    """A part of the time that a step took.

    Attributes:
        kind: an attempt, a wait within one, or the pause between two.
        started_at: seconds since 1970.
        ended_at: seconds since 1970; None while it is running.
        told: why the attempt failed, or what is waited for.
    """

    kind: SpanKind
    started_at: float
    ended_at: float | None = None
    told: str = ""


MOST_SPANS = 60
"""Parts of a step's time that are kept; of more, waits are forgotten first."""


@dataclass
class StepStatus:
    """The state of one step.

    Attributes:
        outputs: the names of its outputs.
        started_at: seconds since 1970; None before it started.
        ended_at: seconds since 1970; None before it ended.
        error: why it failed or was skipped.
        stderr: the last lines of a failed command's stderr.
        called: what a failed step called.
        place: where in the flow's files to look for why it failed: file, line and column.
        waiting: whether it waits for its next attempt.
        waits_for: what it waits for while it runs; empty where it does not.
        reused: whether a retry took it over from the run before.
        by_condition: whether its condition, or that of a step that it needs, skipped it.
        items: how far it is with its items; None where it is not repeated, or has not begun.
        cursor: what has become of its cursor; None where it has none, or the run has not ended.
        warnings: what it warns of, each once.
        timeline: its attempts, waits and pauses, in the order in which they began.
    """

    name: str
    depends_on: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    state: State = "pending"
    started_at: float | None = None
    ended_at: float | None = None
    attempt: int = 0
    error: str | None = None
    stderr: str = ""
    called: str = ""
    place: str | None = None
    waiting: bool = False
    waits_for: str = ""
    reused: bool = False
    by_condition: bool = False
    items: ItemsStatus | None = None
    cursor: CursorStatus | None = None
    warnings: list[StepWarning] = field(default_factory=list)
    timeline: list[Span] = field(default_factory=list)

    def begin(self, kind: SpanKind, timestamp: float, told: str = "") -> None:
        """A part of its time begins; what goes on of the same kind, and each pause, ends.

        Args:
            kind: what begins.
            timestamp: seconds since 1970.
            told: what is waited for.
        """
        self.end((kind, "pause"), timestamp)
        self.timeline.append(Span(kind, timestamp, told=told))
        if len(self.timeline) > MOST_SPANS:
            oldest = next((s for s in self.timeline[:-1] if s.kind == "wait"), self.timeline[0])
            self.timeline.remove(oldest)

    def end(self, kinds: Collection[str], timestamp: float, told: str = "") -> None:
        """What goes on of its time ends.

        Args:
            kinds: the kinds that end.
            timestamp: seconds since 1970.
            told: why an attempt failed.
        """
        for span in self.timeline:
            if span.ended_at is None and span.kind in kinds:
                # The machine's clock may have been set meanwhile.
                span.ended_at = max(timestamp, span.started_at)
                span.told = told or span.told

    @property
    def elapsed(self) -> float | None:
        """Seconds from its start to its end."""
        if self.started_at is None or self.ended_at is None:
            return None
        # The machine's clock may have been set meanwhile.
        return max(0.0, self.ended_at - self.started_at)


@dataclass
class RunStatus:
    """The state of a run and of each of its steps; steps in file order, by written name.

    Times are seconds since 1970.
    """

    run_id: str
    name: str
    state: RunState = "pending"
    created_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    error: str | None = None
    steps: dict[str, StepStatus] = field(default_factory=dict)

    @property
    def success(self) -> bool:
        """Whether the run succeeded."""
        return self.state == "succeeded"

    @property
    def has_failures(self) -> bool:
        """Whether it succeeded although steps failed: the flow tolerates that."""
        return self.state == "succeeded" and self.count("failed") > 0

    @property
    def verdict(self) -> str:
        """Its state in words for people, which don't call a run with failed steps a success."""
        return WITH_FAILURES if self.has_failures else self.state

    def count(self, state: State) -> int:
        """How many steps are in a state."""
        return sum(step.state == state for step in self.steps.values())


class Change(NamedTuple):
    """Something that a person would want to know of a step.

    Attributes:
        retry_in: seconds until the next attempt, where one has failed and another will follow.
        reason: why that attempt failed.
        is_progress: whether the step goes on as before, and is only further with its items.
        warning: what it warns of, while it goes on as before.
    """

    step: StepStatus
    timestamp: float
    retry_in: float | None = None
    reason: str = ""
    is_progress: bool = False
    warning: StepWarning | None = None
