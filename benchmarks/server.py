"""A server on this machine that takes its time."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator

_BODY = b'{"ok": true}'


@contextlib.contextmanager
def slow_server(delay: float) -> Iterator[str]:
    """Serve on a free port of the loopback for the length of a block; gives the URL.

    Args:
        delay: seconds for which each request waits for its answer.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            """Answer after the delay."""
            time.sleep(delay)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(_BODY)))
            self.end_headers()
            self.wfile.write(_BODY)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
