"""The order and the bounds in which items are worked on, whatever they do."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtoy_dagster.steps.loops.item_queue import ItemQueue


@settings(deadline=None, max_examples=100)
@given(
    ends=st.lists(st.sampled_from(["good", "bad"]), max_size=40),
    threads=st.integers(1, 8),
    stop_at=st.integers(1, 50),
)
def test_items_begin_in_order_and_none_is_begun_twice_or_after_a_stop(
    ends: list[str], threads: int, stop_at: int
) -> None:
    # language 18.5, 18.6
    lock = threading.Lock()
    begun: list[int] = []
    ended: list[int] = []
    running = most = 0

    def work(index: int) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1
        return ends[index]

    def take(index: int, result: str) -> str | None:
        assert result == ends[index]
        ended.append(index)
        return "enough" if len(ended) >= stop_at else None

    def may_begin() -> str | None:
        begun.append(len(begun))
        return None

    queue = ItemQueue(range(len(ends)), work, take, may_begin)
    queue.run(threads)
    left = list(queue.left())
    assert sorted([*ended, *left]) == list(range(len(ends)))
    assert left == list(range(len(ends) - len(left), len(ends)))
    assert most <= threads
    assert (queue.stopped is not None) == (len(ended) >= stop_at)
    assert len(ended) <= max(stop_at, 0) + threads - 1 or not left


def test_items_are_never_worked_on_in_rounds() -> None:
    """While one item takes long, the other thread works through all the rest."""
    rest = threading.Event()
    done: list[int] = []

    def work(index: int) -> int:
        if index == 0:
            assert rest.wait(60)
        return index

    def take(index: int, _: int) -> None:
        done.append(index)
        if len(done) == 9:
            rest.set()

    ItemQueue(range(10), work, take).run(2)
    assert done == [*range(1, 10), 0]


def test_what_an_item_raises_ends_the_queue() -> None:
    def work(index: int) -> int:
        raise OSError(f"disk full at {index}")

    queue = ItemQueue(range(100), work, lambda *_: None)
    with pytest.raises(OSError, match="disk full"):
        queue.run(4)
    assert len(list(queue.left())) >= 96
