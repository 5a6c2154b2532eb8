"""Runs inside of a program that has threads, a log and signal handlers of its own."""

from __future__ import annotations

import asyncio
import gc
import logging
import logging.handlers
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.engine.storage.instances import open_instance


def flow_on(executor: str, text: str = "x") -> dict[str, Any]:
    return {
        "runner": {"executor": executor},
        "flow": [
            {"name": "a", "source": "process", "timeout": 50,
             "input": {"command": ["echo", text]},
             "output": [{"name": "text", "value": "stdout"}]},
        ],
    }


class Remote(logging.Handler):
    """Sends records to somewhere, until it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.closed = False

    def emit(self, record: logging.LogRecord) -> None:
        self.sent.append(record.getMessage())

    def close(self) -> None:
        self.closed = True
        super().close()


@pytest.fixture
def remote() -> Iterator[Remote]:
    handler = Remote()
    logger = logging.getLogger("host")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def signals() -> Iterator[dict[int, Any]]:
    """Handlers of a program for the signals that runs are interested in, too."""
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in numbers}
    own: dict[int, Any] = {number: lambda *_: None for number in numbers}
    for number, handler in own.items():
        signal.signal(number, handler)
    yield own
    for number, handler in before.items():
        signal.signal(number, handler)


def state_of_the_process() -> dict[str, Any]:
    mask = os.umask(0)
    os.umask(mask)
    root = logging.root
    return {
        "handlers of the root": list(root.handlers),
        "level of the root": root.level,
        "level of dagster": logging.getLogger("dagster").level,
        "disabled": root.manager.disable,
        "logger class": logging.getLoggerClass(),
        "blocked signals": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "directory": os.getcwd(),
        "environment": dict(os.environ),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "descriptors": [os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)],
        "warnings": (list(warnings.filters), warnings.showwarning),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "timer": signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        "collector": (gc.isenabled(), gc.get_threshold()),
        "umask": mask,
        "module path": list(sys.path),
        "hooks": (sys.excepthook, threading.excepthook),
    }


@pytest.mark.parametrize("executor", ["warm", "in_process", "multiprocess"])
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
def test_a_run_changes_nothing_of_its_host(
    executor: str, made_home: Path, remote: Remote, signals: dict[int, Any]
) -> None:
    logging.getLogger("dagster").setLevel("ERROR")
    child = subprocess.Popen(["true"])
    before = state_of_the_process()
    assert run_flow(flow_on(executor)).success
    assert state_of_the_process() == before
    assert {number: signal.getsignal(number) for number in signals} == signals
    assert child.wait() == 0
    assert child.returncode == 0
    logging.getLogger("host").error("after")
    assert remote.sent == ["after"]
    assert not remote.closed
    logging.getLogger("dagster").setLevel("NOTSET")


def test_a_fork_server_of_the_host_does_not_decide_the_environment_of_a_run(
    tmp_path: Path, made_home: Path
) -> None:
    """A program that has run a job of its own has one, with the environment of that time."""
    program = """
        import multiprocessing, os
        if __name__ == "__main__":
            home = os.environ.pop("FLOWTOY_HOME")
            own = multiprocessing.get_context("forkserver").Process(target=print)
            own.start()
            own.join()
            os.environ["FLOWTOY_HOME"] = home
            from flowtoy_dagster import run_flow
            echo = {"name": "a", "source": {"type": "env", "vars": ["FLOWTOY_HOME"]},
                    "output": [{"name": "all"}]}
            run = run_flow({"runner": {"executor": "multiprocess"}, "flow": [echo]})
            assert run.success, [step.error for step in run.status.steps.values()]
            assert run.outputs == {"a": {"all": {"FLOWTOY_HOME": home}}}, run.outputs
        """
    script = tmp_path / "host.py"
    script.write_text(textwrap.dedent(program))
    done = subprocess.run([sys.executable, script], stderr=subprocess.PIPE, text=True, timeout=200)
    assert done.returncode == 0, done.stderr


def test_handlers_that_buffer_are_flushed_after_a_run(tmp_path: Path, made_home: Path) -> None:
    """The module forgets closed handlers, which then lose what they hold at exit."""
    program = """
        import logging.handlers, sys
        log = logging.getLogger("host")
        file = logging.FileHandler(sys.argv[1])
        log.addHandler(logging.handlers.MemoryHandler(100, target=file))
        log.warning("before")
        from flowtoy_dagster import run_flow
        flow = {"runner": {"executor": "in_process"}, "flow": [{"name": "a", "source": "env"}]}
        assert run_flow(flow).success
        log.warning("after")
        """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), tmp_path / "log"], check=True, timeout=200
    )
    assert (tmp_path / "log").read_text() == "before\nafter\n"


def test_runs_in_several_threads_end_in_a_new_home(home: Path) -> None:
    """Both make the home, store events and start at the same time."""
    found: list[Any] = []
    threads = [
        threading.Thread(
            target=lambda n=n: found.append(run_flow(flow_on("in_process", f"x{n}")).outputs),
            daemon=True,
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert sorted(outputs["a"]["text"] for outputs in found) == [f"x{n}\n" for n in range(4)]


def test_runs_go_on_beside_a_running_event_loop(made_home: Path) -> None:
    """As in a notebook: in the loop's own thread, and beside it."""

    async def main() -> list[bool]:
        here = run_flow(flow_on("warm")).success
        others = (
            asyncio.to_thread(lambda: run_flow(flow_on("in_process")).success) for _ in range(2)
        )
        return [here, *await asyncio.gather(*others)]

    assert asyncio.run(main()) == [True, True, True]


def test_homes_are_made_by_several_threads_at_once(tmp_path: Path) -> None:
    """The same one, and different ones: what migrates databases has one context for a process."""
    errors: list[BaseException] = []

    def open_one(name: str) -> None:
        try:
            with open_instance(open_home(tmp_path / name)) as instance:
                assert instance.get_runs() == []
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=open_one, args=(name,)) for name in ("a", "a", "a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert errors == []


def test_handlers_of_the_homes_own_are_used_and_those_of_the_host_stay(
    tmp_path: Path, home: Path, databases: Path, remote: Remote
) -> None:
    open_home(home)
    with open(home / "dagster.yaml", "a") as file:
        file.write(f"""
python_logs:
  dagster_handler_config:
    formatters: {{short: {{format: "%(message).20s"}}}}
    handlers:
      file: {{class: logging.FileHandler, filename: {tmp_path / "log"}, formatter: short}}
""")
    for _ in range(2):
        assert run_flow(flow_on("in_process")).success
    lines = (tmp_path / "log").read_text().splitlines()
    assert max(map(len, lines)) == 20
    assert len(lines) > 10
    assert not remote.closed


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None], ids=["nohup", "own"])
def test_a_hangup_that_has_another_meaning_keeps_it(
    handler: Any, made_home: Path
) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        run = run_flow(
            flow_on("in_process"), on_change=lambda _: os.kill(os.getpid(), signal.SIGHUP)
        )
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.success
