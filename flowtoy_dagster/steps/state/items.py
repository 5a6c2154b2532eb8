"""The items of a repeated step: what each is, what became of it, and where that is kept."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Protocol

from flowtoy_dagster.errors import StepError
from flowtoy_dagster.flow.schema.models import DEFAULT_WORKERS
from flowtoy_dagster.steps.state.cursors import CursorUse

ItemState = Literal["succeeded", "failed", "skipped"]
SHOWN_FAILURES = 5
"""Failed items that are shown before the end of the run."""


@dataclass(frozen=True)
class Item:
    """One item.

    Attributes:
        index: its place, from 0.
        key: what distinguishes it from the others.
        names: what the names in templates stand for that only this item's have.
    """

    index: int
    key: str
    names: Mapping[str, Any]


@dataclass(frozen=True)
class ItemResult:
    """What became of one item.

    Attributes:
        error: why it failed or was skipped, secrets hidden.
        outputs: values by name; empty where it did not succeed.
        call: a hash of what was called; empty where nothing was.
        secrets: what it learned to be secret, and what else is secret in its key and outputs.
        printed: the texts of `stdout` and `stderr`, secrets hidden.
        reused: whether an earlier run, or an earlier attempt of this step, has done it.
        cursor: what it used and read of its cursor; None where it has none, or did not succeed.
    """

    index: int
    key: str
    state: ItemState
    error: str | None = None
    attempts: int = 0
    outputs: Mapping[str, Any] = field(default_factory=dict)
    call: str = ""
    secrets: tuple[str, ...] = ()
    printed: Mapping[str, str] = field(default_factory=dict)
    reused: bool = False
    cursor: CursorUse | None = None

    def fact(self) -> dict[str, Any]:
        """What `steps.<name>.items` has of it."""
        return {
            "index": self.index,
            "key": self.key,
            "state": self.state,
            "error": self.error,
            "attempts": self.attempts,
            "outputs": dict(self.outputs),
        }


class ItemCounts(NamedTuple):
    """How many items there are, and how many of them have ended how.

    Attributes:
        reused: those of the succeeded ones that were not called again.
    """

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    reused: int = 0

    @property
    def ended(self) -> int:
        """How many have ended."""
        return self.succeeded + self.failed + self.skipped

    def with_one(self, result: ItemResult) -> ItemCounts:
        """The counts when one more has ended."""
        more = {result.state: getattr(self, result.state) + 1}
        return self._replace(reused=self.reused + result.reused, **more)

    def facts(self) -> dict[str, int]:
        """What `steps.<name>.counts` has."""
        return {
            "total": self.total,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "skipped": self.skipped,
        }


class ItemLog(Protocol):
    """Where the results of a step's items are kept; used by several threads at once."""

    def begin(self, total: int) -> None:
        """So many items will come.

        Raises:
            OSError: nothing can be kept.
        """

    def append(self, result: ItemResult) -> None:
        """Keep a result, so that it survives the process.

        Raises:
            OSError: it can't be kept.
        """

    def end(self) -> None:
        """No more results will come.

        Raises:
            OSError: they can't be kept.
        """

    def earlier(self, key: str) -> ItemResult | None:
        """A success of the item of that key, of an earlier run or attempt."""

    def problems(self) -> Sequence[str]:
        """Why results of earlier runs or attempts can't be reused, in words, after `begin`."""

    def results(self) -> Iterator[ItemResult]:
        """The results that were appended, in the order of the items."""


class Claims:
    """Which place each output of a step writes to; used by several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owners: dict[str, tuple[str | None, str]] = {}

    def take(self, place: str, item: Item | None, output: str) -> None:
        """Note that an output of an item, or of a step that is not repeated, writes to a place.

        Raises:
            StepError: another one does.
        """
        mine = (item.key if item is not None else None, output)
        with self._lock:
            owner = self._owners.setdefault(place, mine)
        if owner == mine:
            return
        key, other = owner
        whose = f"the output '{other}'" + (f" of item '{key}'" if key is not None else "")
        raise StepError(f"output '{output}': {whose} writes to '{place}' already")


class Told:
    """What was told of a step already; used by several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: set[str] = set()

    def is_first(self, what: str) -> bool:
        """Whether this is told for the first time."""
        with self._lock:
            is_new = what not in self._told
            self._told.add(what)
        return is_new


class MemoryItemLog:
    """Results in memory, for steps that nobody will look at later."""

    def __init__(self, earlier: Iterable[ItemResult] = ()) -> None:
        self._earlier = {result.key: result for result in earlier}
        self._results: dict[int, ItemResult] = {}

    def begin(self, total: int) -> None:
        """So many items will come."""
        self._results.clear()

    def append(self, result: ItemResult) -> None:
        """Keep a result."""
        self._results[result.index] = result

    def end(self) -> None:
        """No more results will come."""

    def earlier(self, key: str) -> ItemResult | None:
        """A success of the item of that key, of an earlier run or attempt."""
        return self._earlier.get(key)

    def problems(self) -> Sequence[str]:
        """None: nothing is read."""
        return ()

    def results(self) -> Iterator[ItemResult]:
        """The results, in the order of the items."""
        for index in sorted(self._results):
            yield self._results[index]


class ItemOutputs(Mapping[str, Any]):
    """The outputs of a repeated step: for each name, the list of the succeeded items' values.

    Args:
        names: the outputs, in the order written.
        log: has the values; they are read when they are asked for.
    """

    def __init__(self, names: Iterable[str], log: ItemLog) -> None:
        self._names = tuple(names)
        self.log = log

    def values_of(self, name: str) -> Iterator[Any]:
        """The values of one output, one after another."""
        return (r.outputs[name] for r in self.log.results() if r.state == "succeeded")

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self._names:
            raise KeyError(name)
        return list(self.values_of(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class LoopProgress:
    """How far a repeated step is; written by its threads, read by what shows it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = ItemCounts()
        self._failures: tuple[ItemResult, ...] = ()
        self._secrets: set[str] = set()

    def begin(self, total: int) -> None:
        """So many items will come."""
        with self._lock:
            self._counts, self._failures = ItemCounts(total), ()

    def add(self, result: ItemResult) -> None:
        """One more item has ended."""
        with self._lock:
            self._counts = self._counts.with_one(result)
            self._secrets.update(result.secrets)
            if result.state == "failed":
                known = (*self._failures, replace(result, outputs={}, printed={}))
                ordered = sorted(known, key=lambda failure: failure.index)
                self._failures = tuple(ordered[:SHOWN_FAILURES])

    @property
    def counts(self) -> ItemCounts:
        """The counts as they are now."""
        return self._counts

    @property
    def secrets(self) -> frozenset[str]:
        """What the items have learned to be secret."""
        with self._lock:
            return frozenset(self._secrets)

    @property
    def failures(self) -> tuple[ItemResult, ...]:
        """Those of the failed items that come first."""
        return self._failures


@dataclass(frozen=True)
class Loop:
    """What a repeated step is given by what runs it.

    Attributes:
        log: where the results are kept.
        workers: how many items are worked on at once, where the step does not say.
        most: how many may be worked on at once, whatever the step says; None is any number.
        progress: called with how far it is.
        stopping: set when the step must end: no item is begun any more.
        claims: which place each output writes to.
        runs: the ids of the runs whose items may be reused, and of this one.
        told: what items would say one after another, and one of them says.
        only: the key of the one item that is to be worked on; None for all.
    """

    log: ItemLog = field(default_factory=MemoryItemLog)
    workers: int = DEFAULT_WORKERS
    most: int | None = None
    progress: LoopProgress = field(default_factory=LoopProgress)
    stopping: threading.Event = field(default_factory=threading.Event)
    claims: Claims = field(default_factory=Claims)
    runs: frozenset[str] = frozenset()
    told: Told = field(default_factory=Told)
    only: str | None = None
