"""A run elsewhere, seen through its status API: the client, and `flowtoy webui --status-url`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from serving_commands import gated, wait_until

from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.runs.remote import RemoteError, RemoteRun

ANSWERS = {
    "/page/status": (200, "text/html", b"<html>hello</html>"),
    "/other/status": (200, "application/json", b'{"healthy": true}'),
    "/list/status": (200, "application/json", b"[]"),
    "/moved/status": (302, "text/html", b""),
    "/locked/status": (401, "application/json", b'{"error": "a token is needed"}'),
    "/broken/status": (500, "text/plain", b"oh no"),
}


class _Strange(BaseHTTPRequestHandler):
    """Answers as other servers do."""

    def do_GET(self) -> None:
        code, kind, body = ANSWERS[self.path]
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Location", "/other/status")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def strange() -> Iterator[str]:
    """A server that serves no run."""
    with HTTPServer(("127.0.0.1", 0), _Strange) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("page", "does not answer in JSON"),
        ("other", "is not the status of a flow"),
        ("list", "is not the status of a flow"),
        ("moved", "answers 302"),
        ("locked", "answers 401: a token is needed"),
        ("broken", "answers 500 (Internal Server Error)"),
    ],
)
def test_what_is_no_status_is_told_in_one_line(strange: str, path: str, message: str) -> None:
    with pytest.raises(RemoteError) as caught:
        RemoteRun(f"{strange}/{path}").status()
    assert f"{strange}/{path}/status {message}" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "http://[x", ""],
    ids=["scheme", "no host", "port", "bracket", "empty"],
)
def test_what_is_no_address_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="is not a status URL"):
        RemoteRun(url)


@pytest.mark.parametrize(
    "written", ["127.0.0.1:8000", "http://127.0.0.1:8000", "http://127.0.0.1:8000/",
                "http://127.0.0.1:8000/status", "http://127.0.0.1:8000/status?token=abc"],
)
def test_the_base_and_the_address_of_the_status_mean_the_same(written: str) -> None:
    assert RemoteRun(written).url == "http://127.0.0.1:8000"


def test_a_proxy_is_not_asked_for_what_is_on_this_machine(
    strange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(RemoteError, match="is not the status of a flow"):
        RemoteRun(f"{strange}/other").status()


def test_a_run_elsewhere_is_shown_here_and_outages_are_told(
    serving: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    flow = write("name: far\nflow:\n" + gated("a", tmp_path, "echo 1") + gated("b", tmp_path))
    there = serving("serve", flow, "--port", "0")
    there.wait_for(a="running", b="running")
    here = serving("webui", "--status-url", f"{there.url}/status", "--port", "0")
    assert here.url != there.url
    assert here.wait_for(a="running")["name"] == "far"
    assert here.ask("/outputs").json == {}
    page = here.ask("/")
    assert page.headers["content-type"].startswith("text/html")
    assert here.ask("/flow").body == page.body

    (tmp_path / "a").touch()
    here.wait_for(a="succeeded")
    assert here.ask("/outputs").json == {"a": {"text": "1\n"}}
    assert here.ask("/outputs?step=b").json == {}
    assert here.ask("/outputs?step=c").code == 404
    remote = RemoteRun(there.url)
    assert remote.status().steps["a"].state == "succeeded"
    assert remote.outputs("a") == {"a": {"text": "1\n"}}

    there.end(signal.SIGKILL)

    def refused() -> Any:
        """What is told once nothing listens; until then a connection may be reset."""
        answer = here.ask("/status")
        reason = answer.json.get("error", "") if answer.code == 502 else ""
        return answer if "can't be reached: connection refused" in reason else None

    lost = wait_until(refused, "it is lost")
    assert lost.json["last"]["steps"]["a"]["state"] == "succeeded"
    assert lost.json["since"] > lost.json["last"]["started_at"]
    assert here.ask("/status").json["since"] == lost.json["since"]
    assert here.ask("/healthz").code == 200
    with pytest.raises(RemoteError, match="can't be reached: connection refused"):
        remote.outputs()
    assert here.end() == 0


def test_a_run_that_cannot_be_reached_at_the_start_is_an_error(
    flowtoy: Callable[..., Any], strange: str
) -> None:
    for url in ("http://127.0.0.1:9", f"{strange}/page"):
        done = flowtoy("webui", "--status-url", url, "--port", "0")
        assert (done.code, done.stdout) == (2, "")
        assert done.stderr.startswith(url)
        assert "Traceback" not in done.stderr
