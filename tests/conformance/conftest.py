"""The parts that conformance tests are made of: an echo server, and runs without Dagster."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.testing.run import Ended, FlowRun

CASES = Path(__file__).parent


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked, as JSON; `/status/N` with that status, `/text` with text."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        asked = urlsplit(self.path)
        told = {
            "method": self.command,
            "path": asked.path,
            "query": parse_qs(asked.query),
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": json.loads(body) if body[:1] in ("{", "[") else body,
        }
        status, kind, content = 200, "application/json", json.dumps(told).encode()
        if asked.path.startswith("/status/"):
            status = int(asked.path.rpartition("/")[2])
            content = b"" if status == 204 else content
        if asked.path == "/text":
            kind, content = "text/plain", b"plain text"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server's names

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def echo_url() -> Iterator[str]:
    """The address of an echo server on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def case_environment(echo_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What every case may count on."""
    monkeypatch.setenv("ECHO_URL", echo_url)
    monkeypatch.delenv("UNSET_VARIABLE", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def at_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's folder, with the cases' files beside it, as the place that paths start from."""
    for path in CASES.iterdir():
        if path.suffix in (".yaml", ".env", ".json"):
            (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def interpret() -> Callable[[Flow], Mapping[str, Ended]]:
    """Runs a flow in this process without Dagster, as `flowtoy test` does; nothing is mocked."""
    return lambda flow: FlowRun(flow).carry_out().steps
