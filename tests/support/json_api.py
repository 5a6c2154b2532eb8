"""A server that answers GET requests with JSON."""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextlib.contextmanager
def served(answer: Callable[[Mapping[str, str]], tuple[int, Any]]) -> Iterator[str]:
    """An API at an address of its own, which is given.

    Args:
        answer: from the parameters of a request to the status and the data of its answer.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, data = answer(dict(urllib.parse.parse_qsl(self.path.partition("?")[2])))
            body = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}/rows"
    http.shutdown()
    http.server_close()
