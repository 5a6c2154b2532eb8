"""What can go wrong in a step is one clear line, and the other steps' outputs are printed."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml
from provider_packages import install_provider

RAISES = """
class Raises:
    def __init__(self, configuration):
        pass

    def call(self, input_payload=None):
        raise RuntimeError("the queue\\nis closed")
"""


class Handler(BaseHTTPRequestHandler):
    """Answers each path with what its name says."""

    stopping = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/hang":
            self.stopping.wait(120)
        elif self.path == "/dropped":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe first part")
        elif self.path == "/invalid":
            self.answer(200, b'{"half": ')
        elif self.path == "/500":
            self.answer(500, b"out of order")
        else:
            self.answer(404, b'{"error": "no such page"}')

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Silent."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    Handler.stopping.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        Handler.stopping.set()
        server.shutdown()
        thread.join()


BAD = {
    "refused": r"connection refused|could not connect|can't connect",
    "unreachable": r"no-such-host\.invalid",
    "404": r'HTTP status 404: \{"error": "no such page"\}',
    "500": r"HTTP status 500: out of order",
    "dropped": r"connection|answer",
    "invalid": r"JSON",
    "hang": r"timed out|time",
    "missing command": r"command not found: 'no-such-command'",
    "too much": r"printed more than 1000000 bytes on stdout",
    "raises": r"the provider 'raises' raised RuntimeError: the queue is closed",
}
"""The steps that fail, and what is told of each."""


def flow(address: str) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def rest(url: str) -> dict[str, Any]:
        return {"source": {"type": "rest", "url": url, "timeout": 5}}

    def process(command: list[str], **more: Any) -> dict[str, Any]:
        return {"source": {"type": "process", "command": command, **more}}

    steps = {
        "refused": rest(f"http://127.0.0.1:{port}/"),
        "unreachable": rest("http://no-such-host.invalid/"),
        **{name: rest(f"{address}/{name}") for name in ("404", "500", "dropped", "invalid")},
        "hang": {"source": {"type": "rest", "url": f"{address}/hang", "timeout": 0.3}},
        "missing command": process(["no-such-command"]),
        "too much": process(["head", "-c", "50000000", "/dev/zero"], max_output_bytes=1_000_000),
        "raises": {"source": "raises"},
        "not UTF-8": process(["printf", r"caf\351"]),
        "good": process(["echo", "fine"]),
    }
    output = [{"name": "text", "value": "stdout"}]
    return {
        "flow": [
            # All are tried: only the last failure, which comes after them, fails the run.
            {"name": name, "on_error": "continue", "output": output, **step}
            for name, step in steps.items()
        ]
        + [{"name": "last", "depends_on": list(steps), **process(["false"])}]
    }


@dataclass(frozen=True)
class Ended:
    code: int
    outputs: Any
    stderr: str


@pytest.fixture(scope="module")
def ended(address: str, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """One run of a flow in which everything goes wrong."""
    folder = tmp_path_factory.mktemp("bad")
    path = install_provider(folder / "site", "raises", "Raises", RAISES)
    (folder / "bad.yaml").write_text(yaml.safe_dump(flow(address), sort_keys=False))
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        [sys.executable, "-m", "flowtoy_dagster", "run", "bad.yaml", "-j"],
        capture_output=True, text=True, cwd=folder, timeout=200,
        env={**environment, "PYTHONPATH": path,
             "FLOWTOY_HOME": str(folder / "home")},
    )
    return Ended(done.returncode, json.loads(done.stdout or "null"), done.stderr)


@pytest.mark.parametrize("name", BAD)
def test_a_step_that_goes_wrong_fails_with_one_clear_line(ended: Ended, name: str) -> None:
    # cli: the step, the reason; language 9.6, 11
    assert ended.outputs[name] is None
    told = rf"  {name} +failed after .*\n    called: .*\n    reason: (.*)\n"
    match = re.search(told, ended.stderr)
    assert match, ended.stderr
    reason = match[1]
    assert re.search(BAD[name], reason, re.IGNORECASE), reason
    assert len(reason) < 400
    # No repr of a Python object.
    assert not re.search(r"<\S+ object|\w+Error\('", reason), reason


def test_output_that_is_not_utf8_is_decoded_with_replacement(ended: Ended) -> None:
    # language 11.3
    assert ended.outputs["not UTF-8"] == {"text": "caf\ufffd"}


def test_the_run_fails_and_the_outputs_of_the_others_are_printed(ended: Ended) -> None:
    assert ended.code == 1, ended.stderr
    assert ended.outputs["good"] == {"text": "fine\n"}
    assert "Traceback" not in ended.stderr
    assert "failed: 2 succeeded, 11 failed in " in ended.stderr
