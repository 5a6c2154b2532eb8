"""Events of a step that are stored together: in one transaction, and not in one each.

A small step has five events. With a transaction for each, workers wait for each other's.
"""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

from flowtoy_dagster.machine.interrupts import uninterrupted

Row = Mapping[str, Any]
"""What is stored of an event, by column."""


class EventGroup:
    """Holds rows of some events back until another event is stored, or until `flush`.

    Call `flush` before an event is given to anybody who acts on it: what was reported must be
    stored.

    Args:
        kinds: the types of the events that are held back.
        store: stores rows in their order, all of them or none.
    """

    def __init__(self, kinds: Collection[str], store: Callable[[Sequence[Row]], None]) -> None:
        self._kinds = kinds
        self._store = store
        self._lock = threading.Lock()
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Store a row after all that are held back, or hold it back, too."""
        with self._lock:
            self._rows.append(row)
        if row["dagster_event_type"] not in self._kinds:
            self.flush()

    def flush(self) -> None:
        """Store what is held back; where that fails, it is held back still."""
        if not self._rows:
            return
        # Between a transaction's end and the note that it has ended.
        with uninterrupted(), self._lock:
            if self._rows:
                self._store(self._rows)
                self._rows = []

    def empty(self) -> bool:
        """Hold nothing back any more; whether nothing was."""
        with self._lock:
            rows, self._rows = self._rows, []
        return not rows


class Grouping(Protocol):
    """Where a process stores events."""

    group: EventGroup | None

    def insert(self, rows: Sequence[Row]) -> None:
        """Store rows in their order, all of them or none."""


_together: ContextVar[tuple[Any, EventGroup] | None] = ContextVar("together", default=None)


@contextlib.contextmanager
def stored_together(log: Any, kinds: Collection[str]) -> Iterator[None]:
    """Store the events of these types together that come from a block, at its end.

    Args:
        log: a `Grouping`; where another class stores events, each is stored alone.
        kinds: the types of the events.
    """
    if not hasattr(log, "group"):
        yield
        return
    group = EventGroup(kinds, log.insert)
    before = _together.set((log, group))
    try:
        yield
    finally:
        _together.reset(before)
        group.flush()


def group_for(log: Grouping) -> EventGroup | None:
    """What holds events back that are stored there now; None where each is stored alone."""
    found = _together.get()
    return found[1] if found is not None and found[0] is log else log.group
