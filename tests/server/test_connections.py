"""What connections may cost a server: how many there are, how long they take, who still waits."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from serving_commands import ask, wait_until

from flowtoy_dagster.errors import NoRunError
from flowtoy_dagster.server.http import bounded, connections
from flowtoy_dagster.server.http.endpoint import Listener, listen
from flowtoy_dagster.server.status_api import status_app

QUICK = "flow: [{name: a, source: env}]"


class _Still:
    """A run of which nothing changes."""

    is_current = True
    status_json = b"{}"

    def __init__(self) -> None:
        self.asked = 0

    def refresh(self) -> None:
        """Nothing."""

    def outputs_json(self, step: str | None = None) -> Iterator[bytes]:
        self.asked += 1
        yield b"{}"

    def has_step(self, name: str) -> bool:
        return True


@contextlib.contextmanager
def served(app: Any) -> Iterator[Listener]:
    """An application that is served with our bounds, in a thread."""
    import uvicorn

    listener = listen()
    server = uvicorn.Server(uvicorn.Config(app, **connections.server_options(log_level="critical")))
    thread = threading.Thread(target=server.run, args=([listener.socket],))
    thread.start()
    try:
        yield listener
    finally:
        server.should_exit = True
        thread.join()
        listener.socket.close()


def connected(listener: Listener, text: bytes = b"") -> socket.socket:
    """A connection on which something was sent."""
    one = socket.create_connection((listener.address, listener.port), timeout=60)
    one.sendall(text)
    return one


def is_ended(one: socket.socket) -> bool:
    """Whether the server ends a connection, without an answer."""
    try:
        return one.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n",
     b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc"],
    ids=["nothing", "half a line", "half a head", "half a body"],
)
def test_who_does_not_send_a_request_to_its_end_is_not_waited_for(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IDLE", "SLOW", "_LOOK"):
        monkeypatch.setattr(bounded, name, 0.05)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            """Nothing is answered before the end."""

    with served(app) as listener, connected(listener, sent) as one:
        assert is_ended(one)


def test_a_connection_is_kept_for_another_request() -> None:
    # status-api.md: a request must be there 15 seconds after the answer before it
    with served(status_app(_Still())) as listener:
        one = http.client.HTTPConnection(*listener.socket.getsockname()[:2], timeout=30)
        with contextlib.closing(one):
            one.request("GET", "/healthz")
            assert one.getresponse().read() == b'{"ok":true}'
            time.sleep(6)  # what uvicorn does by itself ends it after 5
            one.request("GET", "/healthz")
            assert one.getresponse().read() == b'{"ok":true}'


def test_one_connection_too_many_ends_the_one_that_was_idle_for_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 20)
    with contextlib.ExitStack() as stack, served(status_app(_Still())) as listener:
        idle = [stack.enter_context(connected(listener)) for _ in range(100)]
        # Whoever comes now is answered.
        assert ask(f"{listener.url}/healthz").json == {"ok": True}
        assert is_ended(idle[0])
        # And those who came last have still their place.
        idle[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle[-1].recv(12) == b"HTTP/1.1 200"


def test_a_process_with_few_descriptors_takes_few_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {}
    for allowed in (64, 256, 512, 1024, 1 << 20, resource.RLIM_INFINITY):
        monkeypatch.setattr(resource, "getrlimit", lambda _, allowed=allowed: (allowed, allowed))
        found[allowed] = connections.most_connections()
    assert list(found.values()) == [16, 16, 128, 256, 256, 256]


@pytest.mark.parametrize("sent", [
    b"GET /status HTTP/1.1\r\n\r\n", b"GET /status HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"what is this\r\n\r\n",
], ids=["no host", "two hosts", "garbage"])
def test_what_is_no_request_is_answered_in_json(sent: bytes) -> None:
    with served(status_app(_Still())) as listener, connected(listener, sent) as one:
        answer = b"".join(iter(lambda: one.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/json" in head
    assert json.loads(body) == {"error": "invalid http request received"}


def test_a_slash_more_is_another_path() -> None:
    with served(status_app(_Still())) as listener:
        assert ask(f"{listener.url}/status/").code == 404


def test_a_run_that_was_deleted_is_not_found() -> None:
    class Gone(_Still):
        is_current = False

        def refresh(self) -> None:
            raise NoRunError("there is no run 'x'")

    with served(status_app(Gone())) as listener:
        answer = ask(f"{listener.url}/status")
    assert (answer.code, answer.json) == (404, {"error": "there is no run 'x'"})


def test_who_waits_no_more_takes_no_turn() -> None:
    source = _Still()
    request = b"GET /outputs HTTP/1.1\r\nHost: x\r\n\r\n"
    with served(status_app(source)) as listener:
        for _ in range(10):
            gone = [connected(listener, request) for _ in range(120)]
            for one in gone:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                one.close()
        asked = source.asked
        assert ask(f"{listener.url}/outputs").code == 200
        # 250 are answered a second: those who are gone would be by then.
        assert source.asked - asked < 300


@pytest.mark.timeout(500)
def test_a_thousand_connections_harm_neither_the_run_nor_its_readers(
    serving: Callable[..., Any], write: Callable[..., Any], tmp_path: Any
) -> None:
    from serving_commands import gated

    write("flow:\n" + gated("waits", tmp_path))
    served = serving("webui", "flow.yaml", "--port", "0")
    served.wait_for(waits="running")
    port = int(served.url.rpartition(":")[2])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    open_ones = []
    try:
        for _ in range(1000):
            one = socket.create_connection(("127.0.0.1", port), timeout=60)
            one.sendall(b"GET /status HT")
            open_ones.append(one)
        assert served.wait_for(waits="running")
        (tmp_path / "waits").touch()
        assert served.wait_for_run("succeeded")
    finally:
        for one in open_ones:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: served.ask("/runs").code == 200, "the pages are there")
    assert served.end() == 0
