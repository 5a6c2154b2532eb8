"""An interrupt at any moment leaves no command behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flowtoy_dagster.machine.interrupts import uninterrupted
from flowtoy_dagster.providers.subprocesses import Processes, run_command

# An interrupt leaves what it came upon, such as an open file of /proc, to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Interrupted(BaseException):
    """What the handler raises."""


@pytest.fixture(autouse=True)
def _raising() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise Interrupted

    before = {number: signal.signal(number, interrupt)
              for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        assert signal.signal(number, handler) is interrupt


@pytest.fixture
def number() -> str:
    """A length of a `sleep` that no other test has."""
    return str(time.time_ns() % 10**9 + 10**6)


def left(number: str) -> list[int]:
    """The commands that have this word and still run."""
    return [
        process.pid for process in psutil.process_iter(["cmdline", "status"])
        if number in (process.info["cmdline"] or [])
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def interrupt_when(path: Path) -> threading.Thread:
    def interrupt() -> None:
        while not path.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    return thread


# language 19.3
def test_an_interrupt_while_a_command_starts_ends_it(
    number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = subprocess.Popen

    def start(*args: Any, **kwargs: Any) -> Any:
        process = make(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGINT)
        return process

    monkeypatch.setattr(subprocess, "Popen", start)
    running = Processes()
    with pytest.raises(Interrupted):
        run_command(["sleep", number], max_output_bytes=10, processes=running)
    monkeypatch.undo()
    assert left(number) == []


def test_a_second_interrupt_kills_a_command_that_takes_its_time_to_end(
    number: str, tmp_path: Path
) -> None:
    script = f"trap 'touch {tmp_path}/ending' TERM; touch {tmp_path}/running;" \
        " while :; do sleep 0.05; done"
    threads = [interrupt_when(tmp_path / "running"), interrupt_when(tmp_path / "ending")]
    with pytest.raises(Interrupted):
        run_command(["sh", "-c", script, number], max_output_bytes=10)
    for thread in threads:
        thread.join()
    assert left(number) == []


def test_no_command_starts_once_its_process_is_being_ended(number: str) -> None:
    running = Processes()
    running.close(0)
    with pytest.raises(OSError, match="being ended"):
        run_command(["sleep", number], max_output_bytes=10, processes=running)
    assert left(number) == []


def test_commands_are_ended_that_another_thread_is_starting(number: str) -> None:
    running, starting = Processes(), threading.Event()
    ended: list[int] = []

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["sleep", number], start_new_session=True)
        starting.set()
        time.sleep(0.2)  # what it does until it is known
        return process

    def work() -> None:
        process, _ = running.start(start)
        ended.append(process.wait())

    thread = threading.Thread(target=work)
    thread.start()
    starting.wait()
    running.end_all(0)
    thread.join()
    assert ended == [-signal.SIGKILL]


def test_handlers_are_called_after_the_block_and_all_are_back() -> None:
    seen: list[str] = []

    def work() -> None:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGTERM)
            seen.append("done")

    with pytest.raises(Interrupted):
        work()
    assert seen == ["done"]
