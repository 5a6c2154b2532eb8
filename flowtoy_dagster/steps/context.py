"""What one attempt of a step is given: made by what runs the step, and handed down."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.graph import Source, Step
from flowtoy_dagster.flow.schema.rates import Rate
from flowtoy_dagster.outputs.sink import Sink
from flowtoy_dagster.providers.base import (
    CallParts,
    Exchanges,
    Output,
    ProviderResult,
    RecordTaker,
    TokenKeeper,
)
from flowtoy_dagster.providers.subprocesses import Processes
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.steps.state.cursors import CursorReader, CursorTracker, CursorUse
from flowtoy_dagster.steps.state.deadline import Clock
from flowtoy_dagster.steps.state.items import Item, Loop
from flowtoy_dagster.steps.state.mask import StepMask
from flowtoy_dagster.steps.state.timing import RealTime, Time
from flowtoy_dagster.steps.state.waits import Waits
from flowtoy_dagster.steps.state.warnings import Warned, Warnings


class Limiter(Protocol):
    """Counts the calls of sources, for all processes that share them (`store.limits.rates`)."""

    def take(self, key: str, rates: Sequence[Rate]) -> float:
        """0 where a source may be called now, and was counted; else seconds to wait."""

    def pause(self, key: str, seconds: float) -> None:
        """Let no call of a source begin for a time."""


class SlotPlace(Protocol):
    """A call's place among those of a source that is called so many times at once."""

    def take(self) -> bool:
        """Take a slot, if there is a free one for this call."""


class Slots(Protocol):
    """How many calls of one source may go on at once (`store.limits.slots`)."""

    source: str
    most: int

    def place(self) -> AbstractContextManager[SlotPlace]:
        """A place for one call; its slot is given back at the end."""


class Places(Protocol):
    """Which step of a run writes to which place (`store.places`)."""

    def take(self, place: str, step: str) -> str | None:
        """Note that a step writes there; gives the name of another one that does already."""

    def free(self, place: str, step: str) -> None:
        """Note that a step has written nothing there."""


@dataclass(frozen=True)
class Host:
    """The process in which steps run, as far as a step must know it.

    Attributes:
        processes: the commands that steps have started in it and that still run.
        cancelled: set when the results of its steps are not needed any more.
        lost: why the process that tried this step before is gone; then the step fails unrun.
        give_up: ends this process; None if flowtoy does not own it.
        is_wanted: whether what its step comes to is still this process's to store.
    """

    processes: Processes = field(default_factory=Processes)
    cancelled: threading.Event = field(default_factory=threading.Event)
    lost: str | None = None
    give_up: Callable[[], None] | None = None
    is_wanted: Callable[[], bool] = lambda: True


@dataclass
class Work:
    """What an attempt has come to so far; its stages fill it in.

    Attributes:
        describe: gives what is called, in a few words.
        configuration: the source's, rendered.
        payload: the input's payload, rendered.
        result: what the provider gave.
        outputs: the outputs that were extracted.
        cursor: what was used and read of the step's cursor.
        not_repeated: why what failed is not tried again although `retry` says so.
        held: what the call holds; given back when it has ended, or when nobody waits for it.
        called_at: when the first call began, by the step's clock.
    """

    describe: Callable[[], str] = str
    configuration: dict[str, Any] = field(default_factory=dict)
    payload: Any = None
    result: ProviderResult | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    cursor: CursorUse | None = None
    not_repeated: str | None = None
    held: ExitStack = field(default_factory=ExitStack)
    called_at: float | None = None


@dataclass(frozen=True)
class StepContext:
    """One attempt of a step.

    Attributes:
        step: what is run.
        run: the run that it is part of.
        attempt: which attempt this is, from 1.
        poll: which call of `until` this is, from 0.
        item: what an attempt of a step that is repeated works on; None for others.
        loop: what a step that is repeated is given in addition.
        deadline: when it must have ended, in seconds of the monotonic clock.
        mask: hides what is secret, and learns what else is.
        output: takes what commands print, as it comes.
        host: the process in which it runs.
        interrupts: what is raised where the run itself is cancelled.
        scope: what the names in templates stand for.
        clock: counts the time that `deadline` comes of; None where there is none.
        limiter: holds the rates of sources; without one they are not held.
        slots: what a call of the step's source must hold, where that counts calls.
        tokens: keeps the tokens of sources; without it each call asks for one.
        limited: the named source whose rate holds for the step's calls, if one does.
        give_up_at: when it need not wait for its turn any longer, by the monotonic clock.
        cursors: where cursor values are stored; without one nothing is stored.
        waits: called with what the attempt waits for.
        warnings: takes what the attempt warns of.
        work: what the attempt has come to so far.
        parts: what a call that consists of several requests holds to; None outside of a call.
        takers: are handed the records that the call reads, page by page. A stage before the call
            adds one for this attempt alone: another attempt reads from the first page again.
        tracker: finds the new value of the step's cursor in the records, before others get them.
        keeps_records: whether the result must list the records, too.
        sinks: by name, the outputs that are written while the call reads.
        files: makes the folder in which the run keeps files that the step, or an item of it by its
            key, writes, and gives it; None where there is no such place.
        files_url: gives the URL below which such files are kept instead; None for `files`.
        places: where the run's steps write files, where several do.
        outputs_folder: where the call may leave files for outputs that name one; None where none
            does.
        time: what the attempt waits by.
        exchanges: what is asked instead of what the provider would call; None where that is called.
        has_hidden: whether secrets are hidden in what is answered, as in a replay: then they may be
            the only difference between the keys of two items.
        redirect: where a file is written instead of the place that an output names; None for there.
    """

    step: Step
    run: RunInfo
    attempt: int = 1
    poll: int = 0
    item: Item | None = None
    loop: Loop = field(default_factory=Loop)
    deadline: float | None = None
    mask: StepMask = field(default_factory=StepMask)
    output: Output | None = None
    host: Host = field(default_factory=Host)
    interrupts: tuple[type[BaseException], ...] = (KeyboardInterrupt,)
    scope: Mapping[str, Any] = field(default_factory=dict)
    clock: Clock | None = None
    limiter: Limiter | None = None
    slots: Slots | None = None
    tokens: TokenKeeper | None = None
    limited: Source | None = None
    give_up_at: float | None = None
    cursors: CursorReader | None = None
    waits: Waits = field(default_factory=Waits)
    warnings: Warnings = field(default_factory=Warnings)
    work: Work = field(default_factory=Work)
    parts: CallParts | None = None
    takers: tuple[RecordTaker, ...] = ()
    tracker: CursorTracker | None = None
    keeps_records: bool = True
    sinks: Mapping[str, Sink] = field(default_factory=dict)
    files: Callable[[str | None], Path] | None = None
    files_url: Callable[[str | None], str | None] = field(default=lambda _: None)
    places: Places | None = None
    outputs_folder: Path | None = None
    time: Time = field(default_factory=RealTime)
    exchanges: Exchanges | None = None
    has_hidden: bool = False
    redirect: Callable[[str], str] | None = None

    def having(self, **changed: Any) -> StepContext:
        """A copy with other values.

        As `dataclasses.replace`, which takes ten times as long for so many of them.
        """
        assert changed.keys() <= self.__dict__.keys()
        made = object.__new__(StepContext)
        made.__dict__.update(self.__dict__, **changed)
        return made

    @property
    def folder(self) -> Path | None:
        """What relative paths start from; None for the working directory."""
        return self.run.folder.base

    def warn(self, message: str, key: str = "") -> None:
        """Warn of something about the call.

        Args:
            message: one or a few lines; secrets in it are hidden.
            key: of the source's configuration, if one is the reason.
        """
        part = "input" if key in self.step.request_keys else "source"
        self.warn_at(message, (part, key) if key else ())

    def warn_at(self, message: str, path: KeyPath) -> None:
        """Warn of something that is written in the step.

        Args:
            message: one or a few lines; secrets in it are hidden.
            path: the keys and indexes to it within the step.
        """
        self.warnings.add(self.step.name, Warned(self.mask.text(message), path))

    @property
    def processes(self) -> Processes:
        """What the step has started."""
        return self.host.processes

    @property
    def seconds_left(self) -> float | None:
        """Seconds until it must have ended, 0 or less where that is past; None is for ever."""
        return None if self.deadline is None else self.deadline - self.time.now()

    @property
    def call_id(self) -> str:
        """The same for each attempt and each retry of this step, or of this item of it.

        Each call of `until` is another one: it asks again.
        """
        item = self.item.key if self.item is not None else None
        facts: list[object] = [self.run.root_id or self.run.id, self.step.name, item]
        if self.poll:
            facts.append(self.poll)
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @property
    def cancelled(self) -> threading.Event:
        """Set when the step must end."""
        return self.host.cancelled
