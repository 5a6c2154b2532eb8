"""Working through items in several threads, in their order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_LOOK = 0.2
"""Seconds after which the waiting thread looks whether it is interrupted."""


class ItemQueue(Generic[T, R]):
    """Items that threads take one after another, each when it has nothing else to do.

    Args:
        items: in the order in which they are begun.
        work: what is done with one; what it raises ends the queue.
        ended: called with each item and what `work` gave, by one thread at a time; gives why
            no more items are to be begun, or None.
        may_begin: gives why no item is to be begun now, or None.
    """

    def __init__(
        self,
        items: Sequence[T],
        work: Callable[[T], R],
        ended: Callable[[T, R], str | None],
        may_begin: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._items = items
        self._work = work
        self._ended = ended
        self._may_begin = may_begin
        self._lock = threading.Lock()
        self._next = 0
        self._error: BaseException | None = None
        self.stopped: str | None = None

    def run(self, threads: int) -> None:
        """Work through the items, and return when all that were begun have ended.

        Args:
            threads: how many items are worked on at once.

        Raises:
            BaseException: what `work` or `ended` has raised first.
        """
        started = [
            threading.Thread(target=self._serve, name=f"flowtoy-item-{number}", daemon=True)
            for number in range(min(threads, len(self._items)))
        ]
        try:
            for thread in started:
                thread.start()
            for thread in started:
                while thread.is_alive():
                    thread.join(_LOOK)
        except BaseException:
            self._stop("interrupted")
            raise
        if self._error is not None:
            raise self._error

    def left(self) -> Iterator[T]:
        """The items that were never begun."""
        yield from self._items[self._next :]

    def _serve(self) -> None:
        try:
            while (item := self._take()) is not None:
                result = self._work(item[0])
                with self._lock:
                    reason = self._ended(item[0], result)
                    self.stopped = self.stopped or reason
        except BaseException as error:  # noqa: BLE001 - raised where the queue is waited for
            with self._lock:
                self._error = self._error or error
            self._stop("failed")

    def _take(self) -> tuple[T] | None:
        """The next item; None where there is none, or where none is to be begun."""
        with self._lock:
            if self._next == len(self._items):
                return None
            self.stopped = self.stopped or self._may_begin()
            if self.stopped is not None:
                return None
            self._next += 1
            return (self._items[self._next - 1],)

    def _stop(self, reason: str) -> None:
        with self._lock:
            self.stopped = self.stopped or reason
