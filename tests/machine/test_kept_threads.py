"""Threads that are used again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from flowtoy_dagster.machine.kept_threads import IDLE, KeptThreads


@pytest.fixture
def threads() -> KeptThreads:
    return KeptThreads("test-call")


def _alive() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name in (IDLE, "test-call")]


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def _worked(threads: KeptThreads) -> threading.Thread:
    """The thread that did something, and was idle when that was told."""
    done, found, name = threading.Event(), [], []

    def ended() -> None:
        name.append(found[0].name)
        done.set()

    threads.begin(lambda: found.append(threading.current_thread()), ended)
    assert done.wait(60)
    assert name == [IDLE]
    return found[0]


def test_a_thread_that_has_ended_its_work_is_used_again(threads: KeptThreads) -> None:
    assert len({_worked(threads) for _ in range(20)}) == 1


def test_each_works_in_a_thread_of_its_own_at_the_same_time(threads: KeptThreads) -> None:
    together, done = threading.Barrier(4), threading.Semaphore(0)
    for _ in range(4):
        threads.begin(lambda: together.wait(60) and None, done.release)
    for _ in range(4):
        assert done.acquire(timeout=200)


def test_a_thread_that_gets_nothing_to_do_ends(threads: KeptThreads) -> None:
    _worked(threads)
    _wait_for(lambda: not _alive())
    _worked(threads)  # and another one is started


def test_work_that_comes_as_a_thread_leaves_is_done(threads: KeptThreads) -> None:
    done = threading.Semaphore(0)
    for _ in range(30):
        threads.begin(lambda: None, done.release)
        assert done.acquire(timeout=200)
        time.sleep(0.0985)  # about as long as a thread waits
    _wait_for(lambda: not _alive())


def test_a_thread_that_is_kept_busy_keeps_nobody_else(threads: KeptThreads) -> None:
    go_on, done = threading.Event(), threading.Event()
    threads.begin(lambda: go_on.wait(60) and None, done.set)
    _worked(threads)
    go_on.set()
    assert done.wait(60)
    _wait_for(lambda: not _alive())
