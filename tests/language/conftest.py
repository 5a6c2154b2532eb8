"""A server that counts the requests that it answers at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

PATIENCE = 60.0
HOLD = 0.05


class Meter:
    """Requests in flight, and the most that there have been.

    Requests wait until there has been as much `company` as is told, and while the `gate` is shut.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.most = 0
        self.served = 0
        self.company = 1
        self.gate = threading.Event()
        self.gate.set()
        self._now = 0
        self._changed = threading.Condition()

    def wait_for_company(self, count: int) -> None:
        """Hold requests until so many have been in flight together."""
        self.company = count

    def wait_until_asked(self) -> None:
        """Wait until a request is in flight."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._now > 0, PATIENCE)

    def serve(self) -> None:
        """Hold a request as long as it should be."""
        with self._changed:
            self._now += 1
            self.most = max(self.most, self._now)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self.company, PATIENCE)
            # One more than is allowed would come in this time.
            self._changed.wait_for(lambda: self.most > self.company, HOLD)
        self.gate.wait(PATIENCE)
        with self._changed:
            self._now -= 1
            self.served += 1


@pytest.fixture
def meter() -> Iterator[Meter]:
    """A server on loopback whose answers are `{}`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found.serve()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Meter(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()
