"""`flowtoy serve` and `flowtoy run --status-port`."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving_commands import ask, gated, wait_until

HELLO = """
    flow:
      - name: hello
        source: process
        input: {command: [echo, hello]}
        output: [{name: text, value: stdout}]
    """


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, where they still live."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def niceness(pid: int) -> int:
    """How far a process stands back behind others."""
    return os.getpriority(os.PRIO_PROCESS, pid)


def test_the_run_command_prints_its_outputs_and_stays(
    serving: Callable[..., Any], write: Callable[..., Path]
) -> None:
    served = serving("run", write(HELLO), "-j", "--status-port", "0")
    document = served.wait_for_run("succeeded")
    assert served.stderr.startswith(f"status at {served.url}/status?token={served.token}\n")
    assert document["steps"]["hello"]["outputs"] == ["text"]
    served.wait_for_line("until Ctrl-C")
    assert served.process.poll() is None
    # Ctrl-C after the run has ended interrupts nothing.
    assert served.end() == 0
    assert served.stdout() == '{\n  "hello": {"text":"hello\\n"}\n}\n'


def test_answers_are_json_and_nothing_can_be_changed(
    serving: Callable[..., Any], write: Callable[..., Path]
) -> None:
    served = serving("serve", write(HELLO), "--port", "0")
    served.wait_for_run("succeeded")
    for path in ("/status", "/outputs", "/healthz"):
        answer = served.ask(path)
        assert (answer.code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.headers["cache-control"] == "no-store"
        head = served.ask(path, "HEAD")
        assert (head.code, head.body) == (200, b"")
    assert served.ask("/healthz").json == {"ok": True}
    refused = [
        (served.ask("/nothing"), 404),
        (served.ask("/outputs?step=nobody"), 404),
        (served.ask("/status", "POST"), 405),
        (served.ask("/outputs", "DELETE"), 405),
        (served.ask("/status", Host="evil.example"), 421),
    ]
    for answer, code in refused:
        assert answer.code == code
        assert answer.headers["content-type"].startswith("application/json")
        assert set(answer.json) == {"error"}
    assert served.ask("/outputs?step=nobody").json["error"] == "there is no step 'nobody'"
    with ThreadPoolExecutor(100) as readers:
        burst = list(readers.map(lambda _: served.ask("/status"), range(300)))
    assert {(answer.code, answer.json["state"]) for answer in burst} == {(200, "succeeded")}
    served.wait_for_line("until Ctrl-C")
    assert served.end(signal.SIGTERM) == 0
    assert served.stdout() == ""


def test_a_run_that_is_interrupted_ends_the_command(
    serving: Callable[..., Any], write: Callable[..., Path], tmp_path: Path,
    flowtoy: Callable[..., Any],
) -> None:
    # runtime 9
    served = serving("serve", write("flow:\n" + gated("waits", tmp_path)), "--port", "0")
    served.wait_for(waits="running")
    assert served.end() == 130
    assert flowtoy("runs", "show", "last", "--json").json["state"] == "cancelled"
    with pytest.raises(ConnectionRefusedError):
        served.ask("/healthz")


def test_the_server_stands_back_and_does_not_survive_the_command(
    serving: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    # runtime 10
    served = serving("run", write("flow:\n" + gated("waits", tmp_path)), "--status-port", "0")
    served.wait_for(waits="running")
    (server,) = [pid for pid in children_of(served.process.pid) if niceness(pid) > niceness(0)]
    served.end(signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{server}").exists(), "the server has ended")


def test_a_server_that_is_killed_does_not_harm_the_run(
    serving: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    served = serving("run", write("flow:\n" + gated("waits", tmp_path, "echo done")), "-j",
                     "--status-port", "0")
    served.wait_for(waits="running")
    (server,) = [pid for pid in children_of(served.process.pid) if niceness(pid) > niceness(0)]
    os.kill(server, signal.SIGKILL)
    (tmp_path / "waits").touch()
    assert served.process.wait(120) == 0  # the run's own
    assert served.stdout() == '{\n  "waits": {"text":"done\\n"}\n}\n'
    served.wait_for_line("the process that served the status has ended")


@pytest.mark.parametrize("command", [["run", "--status-port"], ["serve", "--port"]],
                         ids=["run", "serve"])
def test_a_port_in_use_is_told_before_any_step_starts(
    command: list[str], flowtoy: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    flow = write(f"flow: [{{name: a, source: process, input: {{command: [touch, {tmp_path}/a]}}}}]")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = flowtoy(command[0], flow, command[1], port)
    assert (done.code, done.stdout) == (2, "")
    assert f"port {port} of 127.0.0.1 is in use" in done.stderr
    assert not (tmp_path / "a").exists()


def test_other_machines_need_the_token(
    serving: Callable[..., Any], write: Callable[..., Path]
) -> None:
    served = serving("serve", write(HELLO), "--host", "0.0.0.0", "--port", "0")
    local = f"http://127.0.0.1:{served.url.rpartition(':')[2]}"
    assert "warning: other machines can reach this server" in served.stderr
    token = served.stderr.partition("?token=")[2].split(",")[0].split()[0]
    refused = ask(f"{local}/status")
    assert (refused.code, set(refused.json)) == (401, {"error"})
    known = {"Authorization": f"Bearer {token}"}
    assert ask(f"{local}/status", headers=known).json["name"] == "flow"
