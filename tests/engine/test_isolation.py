"""What a step leaves in its worker's process, and what the next one finds."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from flowtoy_dagster.engine.executors.warm.process_reset import Isolation
from flowtoy_dagster.machine.kept_threads import KeptThreads


def rings_soon() -> None:
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 3600)


def counts_its_time() -> None:
    signal.setitimer(signal.ITIMER_PROF, 3600)
    signal.setitimer(signal.ITIMER_VIRTUAL, 3600)


def blocks_and_gets_a_signal() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
    # By default it would end the process. To this thread alone: others may not block it.
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)


def gives_up_early() -> None:
    socket.setdefaulttimeout(0.001)


def state() -> tuple[object, ...]:
    timers = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
    return (
        [signal.getitimer(timer) for timer in timers],
        signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        signal.sigpending(),
        [signal.getsignal(n) for n in (signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2)],
        socket.getdefaulttimeout(),
    )


@pytest.mark.parametrize(
    "leaves", [rings_soon, counts_its_time, blocks_and_gets_a_signal, gives_up_early]
)
def test_what_a_step_leaves_does_not_reach_the_next(
    leaves: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    waits = signal.setitimer(signal.ITIMER_REAL, 0)  # the test's own limit
    before = state()
    with Isolation(dict(os.environ), str(tmp_path)) as isolation:
        leaves()
        assert state() != before
    after = state()
    signal.setitimer(signal.ITIMER_REAL, *waits)
    assert after == before
    assert not isolation.tainted


def test_a_timer_that_a_step_leaves_makes_its_worker_end(tmp_path: Path) -> None:
    timer = threading.Timer(3600, lambda: None)
    with Isolation(dict(os.environ), None) as isolation:
        timer.start()
    timer.cancel()
    assert isolation.tainted


def test_a_thread_of_a_call_makes_its_worker_end_only_while_it_is_busy(tmp_path: Path) -> None:
    threads = KeptThreads("test-call")
    ended, go_on = threading.Semaphore(0), threading.Event()
    with Isolation(dict(os.environ), None) as isolation:
        threads.begin(lambda: None, ended.release)
        assert ended.acquire(timeout=200)
    assert not isolation.tainted
    with isolation:
        threads.begin(lambda: go_on.wait(60) and None, ended.release)
    go_on.set()
    assert ended.acquire(timeout=200)
    assert isolation.tainted


def test_a_worker_keeps_one_for_all_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIVEN", "before")
    mask, search = os.umask(0o022), list(sys.path)
    isolation = Isolation(dict(os.environ), str(tmp_path))
    for _ in range(2):
        with isolation:
            assert (os.environ["GIVEN"], "MADE" in os.environ) == ("before", False)
            assert os.umask(0o077) == 0o022
            assert sys.path == search
            os.environ.update(GIVEN="changed", MADE="here")
            sys.path.append("/nowhere")
            os.chdir("/")
    with isolation:
        assert os.getcwd() == str(tmp_path)
    os.umask(mask)


def test_a_folder_that_another_process_makes_anew_is_entered_again(tmp_path: Path) -> None:
    before = os.getcwd()
    start = tmp_path / "start"
    start.mkdir()
    isolation = Isolation(dict(os.environ), str(start))
    with isolation:
        assert os.getcwd() == str(start)
    start.rmdir()
    start.mkdir()
    (start / "new").touch()
    with isolation:
        assert os.path.exists("new")
    os.chdir(before)
