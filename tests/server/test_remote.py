"""A run elsewhere, seen through its status API: the client, and `flowtoy webui --status-url`."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_values import json_values
from serving_commands import gated, wait_until

from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.runs.status.remote import RemoteError, RemoteRun
from flowtoy_dagster.runs.status.status_document import read_status
from flowtoy_dagster.tui.texts import state_text, title

ANSWERS = {
    "/page/status": (200, "text/html", b"<html>hello</html>"),
    "/other/status": (200, "application/json", b'{"healthy": true}'),
    "/list/status": (200, "application/json", b"[]"),
    "/moved/status": (302, "text/html", b""),
    "/locked/status": (401, "application/json", b'{"error": "a token is needed"}'),
    "/broken/status": (500, "text/plain", b"oh no"),
    "/half/status": (200, "application/json", b'{"name": "\\ud800"}'),
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
        ("half", "does not answer in JSON"),
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
    "url", ["ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "http://[x", "",
            "ftp://me:s3cret@x/?token=s3cret", "http://me:s3cret@x:p/?token=s3cret"],
    ids=["scheme", "no host", "port", "bracket", "empty", "secrets", "word for a port"],
)
def test_what_is_no_address_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="is not a status URL\n    it looks like") as raised:
        RemoteRun(url)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://me:s3cret@x:80/", "me:s3cret@x", "s3cret@x?token=s3cret"])
def test_users_and_passwords_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError, match="names a user, and a status API knows none") as raised:
        RemoteRun(url)
    assert "s3cret" not in str(raised.value)


def test_what_does_not_speak_tls_is_told_in_plain_words(strange: str) -> None:
    with pytest.raises(RemoteError, match="can't be reached: it does not speak TLS as https does"):
        RemoteRun(strange.replace("http:", "https:")).status()


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
    here = serving("webui", "--status-url", there.page("/status"), "--port", "0")
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
    remote = RemoteRun(there.page())
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
        assert done.stderr.startswith(f"asking for the run …\n{url}")
        assert "Traceback" not in done.stderr


STATUS = {
    "run_id": 1, "dagster_run_id": "abc", "name": "x", "state": "running", "started_at": 1.0,
    "ended_at": None,
    "steps": {"a": {"state": "running", "started_at": 1.0, "ended_at": None, "notes": [],
                    "outputs": [], "depends_on": [], "attempt": 1}},
}


def changed(place: str, value: Any) -> dict[str, Any]:
    """A status document with another value somewhere."""
    document = json.loads(json.dumps(STATUS))
    *way, last = place.split(".")
    inner = document
    for key in way:
        inner = inner[key]
    inner[last] = value
    return document


@pytest.mark.parametrize(
    ("place", "value"),
    [("run_id", "1"), ("run_id", 10**400), ("run_id", -1), ("run_id", True), ("run_id", 1e308),
     ("dagster_run_id", "\x1b[2J"), ("dagster_run_id", "../../x"), ("dagster_run_id", "x" * 1000),
     ("name", None), ("state", ["running"]), ("started_at", "now"), ("started_at", 1e300),
     ("ended_at", {}), ("steps", []), ("steps", {}), ("steps", {"a": None}),
     ("steps.a.notes", "text"), ("steps.a.notes", [1]), ("steps.a.depends_on", {"a": 1}),
     ("steps.a.outputs", [None]), ("steps.a.attempt", "1"), ("steps.a.attempt", 10**30),
     ("steps.a.started_at", []), ("steps.a.warnings", ["text"]), ("steps.a.warnings", {}),
     ("steps.a.warnings", [{"message": 1, "place": None}]),
     ("steps.a.warnings", [{"message": "", "place": None}] * 21)],
)
def test_a_document_of_wrong_types_is_no_status(place: str, value: Any) -> None:
    assert read_status(STATUS).state == "running"
    with pytest.raises((KeyError, TypeError, ValueError)):
        read_status(changed(place, value))


JSON = json_values(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    st.text(max_size=5),
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*STATUS, *(f"steps.a.{key}" for key in STATUS["steps"]["a"])]),  # type: ignore[index]
    JSON,
)
def test_whatever_a_document_holds_it_is_a_status_or_an_error(place: str, value: Any) -> None:
    try:
        status = read_status(changed(place, value))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
        return
    for step in status.steps.values():
        assert state_text(step, status).plain
    assert title(status, 2.0, "").plain


Hostile = Callable[[Any], None]


def _endless(connection: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b" " * 65536)


def _dripping(connection: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{")
    while True:
        connection.sendall(b" ")
        time.sleep(0.01)


def _dripping_head(connection: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.sendall(b"y")
        time.sleep(0.01)


def _many_values(connection: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" + b"{}," * 2_000_000 + b"{}]")


def _deep(connection: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 500_000)


def _elsewhere(connection: Any) -> None:
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n"
                       b"Content-Length: 0\r\n\r\n")


def _rude(connection: Any) -> None:
    connection.sendall(b"HTTP/1.1 500 " + b"\x1b[2J" * 2000 + b"\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("hostile", "told"),
    [(_endless, "answers with more than 8 MB"), (_dripping, "gives no whole answer within 0 s"),
     (_dripping_head, "gives no whole answer within 0 s"),
     (_many_values, "answers with more than 1000000 values"), (_deep, "does not answer in JSON"),
     (_elsewhere, "answers 302"), (_rude, "answers 500")],
    ids=["endless", "dripping", "dripping head", "many", "deep", "elsewhere", "rude"],
)
def test_a_hostile_server_is_an_error_soon_and_in_bounded_memory(
    hostile: Hostile, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "drip" in hostile.__name__:
        monkeypatch.setattr("flowtoy_dagster.runs.status.remote.DEADLINE", 0.4)

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                hostile(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(RemoteError) as caught:
            RemoteRun(f"http://127.0.0.1:{server.getsockname()[1]}").status()
        thread.join(60)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_token_comes_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWTOY_STATUS_TOKEN", "from-there")
    assert RemoteRun("http://127.0.0.1:1")._headers["Authorization"] == "Bearer from-there"
    assert RemoteRun("http://127.0.0.1:1/?token=x")._headers["Authorization"] == "Bearer x"
    with pytest.raises(UsageError, match="characters that no token has"):
        RemoteRun("http://127.0.0.1:1/?token=a%0d%0ab")
