"""The results of a repeated step's items: a line each, appended when the item has ended.

A killed process leaves the lines of the items that had ended. A line that is cut, or can't be read,
counts as absent: its item is run again, and what is lost so is said. Each attempt of the step
begins with a line that says how many items there are; the last such line and what follows it are
what the step's record refers to.
"""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from flowtoy_dagster.errors import system_reason
from flowtoy_dagster.json_text import dumps, loads_checked
from flowtoy_dagster.steps.state.cursors import CursorUse
from flowtoy_dagster.steps.state.items import ItemCounts, ItemResult
from flowtoy_dagster.store.store import Store

_TOTAL = "items"
_NONE = -1


class _Place(NamedTuple):
    """Where a line is."""

    key: str
    offset: int


class StoredItems:
    """The results that one step of one run has left, read as far as is asked for.

    Args:
        store: where they are.
        key: the piece that has them.
        told: how many items have ended how by what the run's history tells, which may be late.
    """

    def __init__(
        self, store: Store, key: str, told: Callable[[], ItemCounts] = ItemCounts
    ) -> None:
        self._store = store
        self.key = key
        self.told = told
        self._damaged = 0
        self._is_empty = False

    @property
    def place(self) -> str:
        """Where they are, for messages."""
        return f"{self._store.url}/{self.key}"

    def lines(self) -> Iterator[tuple[int, int | None, ItemResult | None]]:
        """Each readable line's offset, and how many items it announces, or the result in it.

        Raises:
            FileNotFoundError: there are none.
            OSError: they can't be read.
        """
        self._damaged, self._is_empty, offset = 0, True, 0
        with self._store.open(self.key) as file:
            for line in file:
                self._is_empty = False
                found = _read(line)
                if found is not None:
                    yield offset, found[0], found[1]
                elif line.strip():
                    self._damaged += 1
                offset += len(line)

    def problems(self, lost: int) -> Iterator[str]:
        """What is wrong with the piece, when its lines have been read.

        Args:
            lost: how many results are not there that the run's history tells of.
        """
        if self._damaged:
            yield (
                f"damaged lines in {self.place}: {self._damaged}; "
                "the results of these items count as absent"
            )
        if lost > 0:
            yield f"{self.place}: the results of {lost:,} of its items are gone"
        elif self._is_empty:
            yield f"{self.place} is empty: the results of its items are gone"

    def latest(self) -> tuple[int, dict[int, int]]:
        """How many items the last attempt of the step had, and the offset of each result."""
        total, offsets = 0, dict[int, int]()
        for offset, announced, result in self.lines():
            if announced is not None:
                total, offsets = announced, {}
            elif result is not None:
                offsets[result.index] = offset
        return total, offsets

    def results(self) -> Iterator[ItemResult]:
        """The results of the step's last attempt, in the order of the items."""
        _, offsets = self.latest()
        yield from self.at(offsets[index] for index in sorted(offsets))

    def counts(self) -> ItemCounts:
        """How many items of the step's last attempt have ended how."""
        counts = ItemCounts()
        for _, announced, result in self.lines():
            if announced is not None:
                counts = ItemCounts(announced)
            elif result is not None:
                counts = counts.with_one(result)
        return counts

    def at(self, offsets: Iterator[int]) -> Iterator[ItemResult]:
        """The results whose lines are at these offsets."""
        with self._store.open(self.key) as file:
            for offset in offsets:
                file.seek(offset)
                found = _read(file.readline())
                if found is not None and found[1] is not None:
                    yield found[1]


@dataclass(frozen=True)
class Reusable:
    """What a retry finds of the items of a repeated step.

    Attributes:
        count: how many have succeeded.
        total: how many there were the last time.
        problems: what is wrong with the places of their results, in words.
    """

    count: int
    total: int
    problems: tuple[str, ...] = ()


def reusable(places: Sequence[StoredItems]) -> Reusable:
    """What can be reused of the items of a step.

    Args:
        places: results of the same step, the most recent ones last.
    """
    total, keys, problems = 0, set[str](), list[str]()
    for place in places:
        successes = _Successes(place)
        keys.update(key for key, _ in successes)
        total = total if successes.total is None else successes.total
        problems += successes.problems
    total = total or max((place.told().total for place in places), default=0)
    return Reusable(min(len(keys), total), total, tuple(problems))


def _read(line: bytes) -> tuple[int | None, ItemResult | None] | None:
    """What a line holds; None where it can't be read."""
    if not line.endswith(b"\n"):
        return None
    try:
        found: dict[str, Any] = loads_checked(line)
        if _TOTAL in found:
            return int(found[_TOTAL]), None
        found["secrets"] = tuple(found.get("secrets", ()))
        if "cursor" in found:
            found["cursor"] = CursorUse.of(found["cursor"])
        result = ItemResult(**found)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return (None, result) if _is_sound(result) else None


def _is_sound(result: ItemResult) -> bool:
    """Whether the values of a result that was read are of the kinds that are written."""
    return (
        result.state in ("succeeded", "failed", "skipped")
        and isinstance(result.index, int)
        and isinstance(result.key, str)
        and isinstance(result.error, (str, type(None)))
        and isinstance(result.attempts, int)
        and isinstance(result.outputs, dict)
        and isinstance(result.call, str)
        and all(isinstance(secret, str) for secret in result.secrets)
        and isinstance(result.printed, dict)
        and all(isinstance(text, str) for text in result.printed.values())
        and isinstance(result.reused, bool)
    )


class StoredItemLog:
    """Keeps results in a store; `steps.items.ItemLog`.

    Args:
        store: where they go.
        own: the piece that they are appended to.
        before: the pieces with results that may be reused, the most recent one last.
    """

    def __init__(
        self, store: Store, own: StoredItems, before: Sequence[StoredItems] = ()
    ) -> None:
        self._store = store
        self._own = own
        self._key = own.key
        self._before = before
        self._problems: list[str] = []
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._size = 0
        self._earlier: dict[str, _Place] | None = None
        self._offsets = array("q")

    def begin(self, total: int) -> None:
        """So many items will come.

        Raises:
            OSError: nothing can be kept.
        """
        with self._lock:
            if self._file is None:
                # First: then what a killed process has left on this machine is in the piece.
                self._file = self._store.appender(self._key)
                self._size = self._file.seek(0, os.SEEK_END)
            if self._earlier is None:
                try:
                    self._earlier = self._find_earlier()
                except BaseException:
                    self._file.close()
                    self._file = None
                    raise
            self._offsets = array("q", [_NONE]) * total
            self._write(dumps({_TOTAL: total}) + b"\n")

    def append(self, result: ItemResult) -> None:
        """Keep a result.

        Raises:
            OSError: it can't be kept.
        """
        line = dumps(_as_json(result)) + b"\n"
        with self._lock:
            self._offsets[result.index] = self._size
            self._write(line)

    def problems(self) -> Sequence[str]:
        """What is wrong with the results that might have been reused."""
        return self._problems

    def end(self) -> None:
        """No more results will come: what there is survives a power cut, too.

        Raises:
            OSError: the disk reports an error.
        """
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                with file:
                    os.fsync(file.fileno())

    def earlier(self, key: str) -> ItemResult | None:
        """A success of the item of that key, of an earlier run or attempt."""
        place = (self._earlier or {}).get(key)
        if place is None:
            return None
        return next(StoredItems(self._store, place.key).at(iter([place.offset])), None)

    def results(self) -> Iterator[ItemResult]:
        """The results that were appended, in the order of the items."""
        offsets = (offset for offset in self._offsets if offset != _NONE)
        return StoredItems(self._store, self._key).at(offsets)

    def _write(self, line: bytes) -> None:
        assert self._file is not None
        left = memoryview(line)
        while left:
            left = left[self._file.write(left) :]
        self._size += len(line)

    def _find_earlier(self) -> dict[str, _Place]:
        """Where the successes are that may be reused."""
        found: dict[str, _Place] = {}
        places = {place.key: place for place in self._before}
        if self._size or self._own.told().ended:  # else it was made just now
            places[self._key] = self._own
        for place in places.values():
            successes = _Successes(place)
            found.update((key, _Place(place.key, offset)) for key, offset in successes)
            self._problems += successes.problems
        return found


class _Successes:
    """The successes in a piece: iterating gives the items' keys and where their lines are.

    Attributes:
        total: how many items the last attempt had, when all were read; None where none says.
        problems: what is wrong with the piece, when all were read.
    """

    def __init__(self, place: StoredItems) -> None:
        self._place = place
        self.total: int | None = None
        self.problems: list[str] = []

    def __iter__(self) -> Iterator[tuple[str, int]]:
        place, keys = self._place, set[str]()
        try:
            for offset, announced, result in place.lines():
                self.total = announced if announced is not None else self.total
                if result is not None and result.state == "succeeded":
                    keys.add(result.key)
                    yield result.key, offset
        except FileNotFoundError:
            if place.told().succeeded:
                self.problems.append(f"{place.place}: the results of its items are gone")
        except OSError as error:
            self.problems.append(
                f"the results of items in {place.place} can't be read: {system_reason(error)}"
            )
        else:
            self.problems += place.problems(place.told().succeeded - len(keys))


def _as_json(result: ItemResult) -> dict[str, Any]:
    """A result without what is as it is by default."""
    facts = {"index": result.index, "key": result.key, "state": result.state}
    more = {
        "error": result.error,
        "attempts": result.attempts,
        "outputs": dict(result.outputs),
        "call": result.call,
        "secrets": list(result.secrets),
        "printed": dict(result.printed),
        "reused": result.reused,
        "cursor": result.cursor.facts() if result.cursor is not None else None,
    }
    return {**facts, **{key: value for key, value in more.items() if value}}
