"""A server of raw sockets on loopback, and calls of the rest provider."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.rest.provider import RestProvider


@dataclass(frozen=True)
class Received:
    """A request that came in; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True)


def receive(stream: Any) -> Received | None:
    line = stream.readline().decode("latin-1")
    if not line.strip():
        return None
    if not line.endswith(" HTTP/1.1\r\n") and not line.startswith("CONNECT "):
        return Received("", "/not-http", {}, b"")
    method, target, _ = line.split()
    headers = {}
    while (line := stream.readline().decode("utf-8").strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Received(method, target, headers, stream.read(int(headers.get("content-length", 0))))


def answer(body: str | bytes = "{}", status: int = 200, **headers: str) -> bytes:
    """A whole answer; underscores in names of headers are hyphens."""
    content = body.encode() if isinstance(body, str) else body
    given = {"Content-Type": "application/json", "Content-Length": str(len(content))}
    given.update({name.replace("_", "-"): value for name, value in headers.items()})
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode() + content


def plain(body: str | bytes, status: int = 200, **headers: str) -> bytes:
    return answer(body, status, **{"Content_Type": "text/plain", **headers})


Script = Callable[[socket.socket], object]


class Server:
    """A server on loopback.

    `answers` maps a path to the bytes of an answer, to a function that gets the socket, after which
    the connection is closed, or to a list of these, one for each request.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, bytes | Script | list[bytes | Script]] = {}
        self.requests: list[Received] = []
        self.connections = 0
        self.ended = threading.Event()
        self._tls = tls
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        host, port = self._listener.getsockname()
        self.url = f"{'https' if tls else 'http'}://{host}:{port}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        self.ended.set()
        self._end(self._listener)
        self._threads[0].join()
        for connection in self._open:
            self._end(connection)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    @property
    def request(self) -> Received:
        """The one request that came."""
        (request,) = self.requests
        return request

    def _end(self, opened: socket.socket) -> None:
        with suppress(OSError):
            socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                accepted = self._listener.accept()[0]
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=[accepted])
                self._threads.append(thread)
                thread.start()

    def _serve(self, accepted: socket.socket) -> None:
        with suppress(OSError), accepted:
            connection = accepted
            if self._tls:
                connection = self._tls.wrap_socket(accepted, server_side=True)
            self._open.append(connection)
            if self.ended.is_set():
                return
            with connection, connection.makefile("rb") as stream:
                while request := receive(stream):
                    self.requests.append(request)
                    known = self.answers.get(urlsplit(request.target).path, answer())
                    given = known.pop(0) if isinstance(known, list) else known
                    if callable(given):
                        given(connection)
                        break
                    connection.sendall(given)

    def hang(self, connection: socket.socket) -> None:
        """Say nothing more until the test is over."""
        self.ended.wait()

    def drip(self, head: bytes) -> Script:
        """Send `head`, then a byte now and then for ever."""

        def script(connection: socket.socket) -> None:
            connection.sendall(head)
            while not self.ended.wait(0.02):
                connection.sendall(b"x")

        return script


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(tls)
    try:
        yield server
    finally:
        server.stop()


def drop(connection: socket.socket) -> None:
    """Close the connection without a word."""


def say(words: bytes) -> Script:
    """Send these bytes and close the connection."""
    return lambda connection: connection.sendall(words)


def call(payload: Any = None, /, **configuration: Any) -> ProviderResult:
    """What a call gives; without a `timeout` of its own it may take long, but not for ever."""
    return ProviderResult.of(RestProvider({"timeout": 20, **configuration}).call(payload))
