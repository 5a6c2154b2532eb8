"""A small shop API on this machine, for the example flows and for tests.

`python shop_api.py -- flowtoy run mixed.yaml` serves while the command runs,
`python shop_api.py --port 9000` until Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, NamedTuple, final

HOST = "127.0.0.1"
CLIENT = ("flows", "open-sesame")
"""Who gets tokens from /oauth/token: its id and its secret."""

USERS = [
    {"id": 1, "name": "Ada Lovelace", "email": "ada@example.com", "country": "GB"},
    {"id": 2, "name": "Edsger Dijkstra", "email": "edsger@example.com", "country": "NL"},
    {"id": 3, "name": "Grace Hopper", "email": "grace@example.com", "country": "US"},
    {"id": 4, "name": "Sophie Germain", "email": "sophie@example.com", "country": "FR"},
]
PRODUCTS = [
    {"id": 11, "name": "Mechanical keyboard", "price": 89.9, "currency": "EUR", "stock": 14},
    {"id": 12, "name": "Desk lamp", "price": 34.5, "currency": "EUR", "stock": 40},
    {"id": 13, "name": "Notebook, dotted", "price": 7.25, "currency": "EUR", "stock": 310},
    {"id": 14, "name": "USB-C cable", "price": 12.0, "currency": "EUR", "stock": 0},
]
ORDERS = [
    {"id": 1001, "user_id": 1, "product_id": 11, "quantity": 1, "status": "shipped"},
    {"id": 1002, "user_id": 2, "product_id": 13, "quantity": 6, "status": "paid"},
    {"id": 1003, "user_id": 3, "product_id": 12, "quantity": 2, "status": "shipped"},
    {"id": 1004, "user_id": 1, "product_id": 14, "quantity": 3, "status": "open"},
    {"id": 1005, "user_id": 4, "product_id": 13, "quantity": 2, "status": "paid"},
]


CHANGES: list[dict[str, Any]] = [
    {"order": 1002, "status": "paid", "updated_at": "2026-03-01T08:30:00Z"},
    {"order": 1001, "status": "shipped", "updated_at": "2026-03-01T10:00:00Z"},
    {"order": 1003, "status": "shipped", "updated_at": "2026-03-02T09:15:00Z"},
]


class Request(NamedTuple):
    """One answered request; the times are `time.monotonic()` seconds."""

    method: str
    path: str
    started: float
    ended: float


class Answer(NamedTuple):
    """What is sent back; the body is anything that JSON holds, or bytes as they are."""

    status: HTTPStatus
    body: object
    headers: Mapping[str, str] = {}


def _error(status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, {"error": message}, headers or {})


class _Shop:
    """What the shop knows: its lists, the tokens it has issued, the databases it has made."""

    def __init__(self, require_token: bool, token_seconds: float) -> None:
        self._require_token = require_token
        self._token_seconds = token_seconds
        self._lock = threading.Lock()
        self._tokens: dict[str, float] = {}
        self._databases: list[str] = []
        self._schemas = 0
        self._reports: list[int] = []
        self._messages: list[Any] = []
        self._seen: set[str] = set()

    def answer(self, method: str, target: str, authorization: str | None, body: bytes) -> Answer:
        path, _, query = target.partition("?")
        for endpoint in _ENDPOINTS:
            match = endpoint.match(path)
            if match is None:
                continue
            if method not in endpoint.methods:
                allow = ", ".join(endpoint.methods)
                message = f"{method} is not allowed here, only {allow}"
                return _error(HTTPStatus.METHOD_NOT_ALLOWED, message, {"Allow": allow})
            if not endpoint.public and (refusal := self._refusal(authorization)):
                return _error(HTTPStatus.UNAUTHORIZED, refusal, {"WWW-Authenticate": "Bearer"})
            groups = (*match.groups(), query) if endpoint.takes_query else match.groups()
            return endpoint.answer(self, groups, body)
        return _error(HTTPStatus.NOT_FOUND, f"no such path: {path}")

    def _refusal(self, authorization: str | None) -> str | None:
        """Why a request may not see data, or None if it may."""
        if authorization is None:
            return "a token is required: see /auth" if self._require_token else None
        scheme, _, token = authorization.partition(" ")
        with self._lock:
            end = self._tokens.get(token) if scheme == "Bearer" else None
        if end is None:
            return "not a token that this API has issued"
        return "the token has expired" if time.monotonic() >= end else None

    def index(self, _ids: Sequence[str], _body: bytes) -> Answer:
        endpoints = [{"path": known.path, "methods": known.methods} for known in _ENDPOINTS]
        return Answer(HTTPStatus.OK, {"endpoints": endpoints})

    def auth(self, _ids: Sequence[str], _body: bytes) -> Answer:
        return self._issued(3600)

    def _issued(self, life: float) -> Answer:
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._tokens[token] = time.monotonic() + life
        issued = {"access_token": token, "token_type": "bearer", "expires_in": life}
        return Answer(HTTPStatus.OK, issued, {"Cache-Control": "no-store"})

    def oauth_token(self, _ids: Sequence[str], body: bytes) -> Answer:
        """A token for a client that shows who it is, as OAuth 2.0 has it (RFC 6749 4.4)."""
        form = dict(urllib.parse.parse_qsl(body.decode(errors="replace")))
        if form.get("grant_type") != "client_credentials":
            return _error(HTTPStatus.BAD_REQUEST, "unsupported_grant_type")
        if (form.get("client_id"), form.get("client_secret")) != CLIENT:
            return _error(HTTPStatus.UNAUTHORIZED, "invalid_client")
        return self._issued(self._token_seconds)

    def users(self, _ids: Sequence[str], _body: bytes) -> Answer:
        return Answer(HTTPStatus.OK, USERS)

    def products(self, _ids: Sequence[str], _body: bytes) -> Answer:
        return Answer(HTTPStatus.OK, PRODUCTS)

    def orders(self, _ids: Sequence[str], _body: bytes) -> Answer:
        return Answer(HTTPStatus.OK, ORDERS)

    def changes(self, ids: Sequence[str], _body: bytes) -> Answer:
        """The changes of orders after `?since=`, a moment in UTC; all by default.

        With `&day=`, those of that day.
        """
        wanted = dict(urllib.parse.parse_qsl(ids[0]))
        since, day = wanted.get("since", ""), wanted.get("day", "")
        found = [
            each for each in CHANGES
            if each["updated_at"] > since and each["updated_at"].startswith(day)
        ]
        return Answer(HTTPStatus.OK, found)

    def credit(self, ids: Sequence[str], _body: bytes) -> Answer:
        """A user's credit, from a bureau that does not answer the first request for user 3."""
        users = {str(user["id"]): user for user in USERS}
        if ids[0] not in users:
            return _error(HTTPStatus.NOT_FOUND, f"no such user: {ids[0]}")
        if ids[0] == "3" and self._is_first("credit"):
            return _error(HTTPStatus.BAD_GATEWAY, "the credit bureau does not answer")
        return Answer(HTTPStatus.OK, {"id": users[ids[0]]["id"], "limit": 500 * int(ids[0])})

    def stock(self, ids: Sequence[str], _body: bytes) -> Answer:
        """How many of a product there are; the first request of all comes too soon."""
        if self._is_first("stock"):
            return _error(HTTPStatus.TOO_MANY_REQUESTS, "slow down", {"Retry-After": "1"})
        for product in PRODUCTS:
            if str(product["id"]) == ids[0]:
                return Answer(HTTPStatus.OK, {"id": product["id"], "stock": product["stock"]})
        return _error(HTTPStatus.NOT_FOUND, f"no such product: {ids[0]}")

    def order_report(self, _ids: Sequence[str], _body: bytes) -> Answer:
        with self._lock:
            self._reports.append(0)
            number = len(self._reports)
        return Answer(HTTPStatus.ACCEPTED, {"id": number, "state": "queued"})

    def report(self, ids: Sequence[str], _body: bytes) -> Answer:
        """How far a report is: done at the third request."""
        number = int(ids[0]) if ids[0].isdecimal() else 0
        with self._lock:
            if not 1 <= number <= len(self._reports):
                return _error(HTTPStatus.NOT_FOUND, f"no such report: {ids[0]}")
            self._reports[number - 1] += 1
            state = "done" if self._reports[number - 1] >= 3 else "running"
        return Answer(HTTPStatus.OK, {"id": number, "state": state})

    def report_csv(self, _ids: Sequence[str], _body: bytes) -> Answer:
        lines = ["id,status", *(f"{order['id']},{order['status']}" for order in ORDERS)]
        body = "".join(f"{line}\n" for line in lines).encode()
        return Answer(HTTPStatus.OK, body, {"Content-Type": "text/csv"})

    def put_file(self, ids: Sequence[str], body: bytes) -> Answer:
        """Take a file, and say what came."""
        found = {"name": ids[0], "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        return Answer(HTTPStatus.CREATED, found)

    def messages(self, _ids: Sequence[str], body: bytes) -> Answer:
        """A chat: what is sent is kept, and all of it is given."""
        with self._lock:
            if body:
                self._messages.append(body.decode(errors="replace"))
            return Answer(HTTPStatus.OK, list(self._messages))

    def _is_first(self, name: str) -> bool:
        with self._lock:
            is_first = name not in self._seen
            self._seen.add(name)
        return is_first

    def page(self, ids: Sequence[str], _body: bytes) -> Answer:
        """A page of a list: `?after=` the last id of the page before, `&limit=` records."""
        name, query = ids
        wanted = dict(urllib.parse.parse_qsl(query))
        lists: dict[str, list[dict[str, Any]]]
        lists = {"users": USERS, "products": PRODUCTS, "orders": ORDERS}
        records = lists.get(name)
        if records is None:
            return _error(HTTPStatus.NOT_FOUND, f"no such list: {name}")
        try:
            after, limit = int(wanted.get("after", 0)), int(wanted.get("limit", 2))
        except ValueError:
            return _error(HTTPStatus.BAD_REQUEST, "'after' and 'limit' are numbers")
        rest = [record for record in records if record["id"] > after]
        items = rest[: min(max(limit, 1), 100)]
        following = items[-1]["id"] if len(rest) > len(items) else None
        return Answer(HTTPStatus.OK, {"items": items, "next": following, "total": len(records)})

    def create_database(self, _ids: Sequence[str], body: bytes) -> Answer:
        try:
            wanted = json.loads(body) if body else {}
        except ValueError:
            return _error(HTTPStatus.BAD_REQUEST, "the body is not JSON")
        if not isinstance(wanted, dict) or not isinstance(wanted.get("name", ""), str):
            return _error(HTTPStatus.BAD_REQUEST, 'the body must look like {"name": "reports"}')
        with self._lock:
            number = len(self._databases) + 1
            self._databases.append(f"db-{number}")
        name = wanted.get("name", f"database-{number}")
        return Answer(HTTPStatus.CREATED, {"id": f"db-{number}", "name": name})

    def create_schema(self, ids: Sequence[str], _body: bytes) -> Answer:
        (database,) = ids
        with self._lock:
            if database not in self._databases:
                return _error(HTTPStatus.NOT_FOUND, f"no such database: {database}")
            self._schemas += 1
            schema = f"schema-{self._schemas}"
        return Answer(HTTPStatus.CREATED, {"id": schema, "database": database})


class _Endpoint(NamedTuple):
    path: str
    methods: tuple[str, ...]
    answer: Callable[[_Shop, Sequence[str], bytes], Answer]
    public: bool = False
    takes_query: bool = False

    def match(self, path: str) -> re.Match[str] | None:
        return re.fullmatch(self.path.replace("<id>", "([^/]+)"), path)


_ENDPOINTS = (
    _Endpoint("/", ("GET",), _Shop.index, public=True),
    _Endpoint("/auth", ("GET", "POST"), _Shop.auth, public=True),
    _Endpoint("/oauth/token", ("POST",), _Shop.oauth_token, public=True),
    _Endpoint("/users", ("GET",), _Shop.users),
    _Endpoint("/products", ("GET",), _Shop.products),
    _Endpoint("/orders", ("GET",), _Shop.orders),
    _Endpoint("/changes", ("GET",), _Shop.changes, takes_query=True),
    _Endpoint("/pages/<id>", ("GET",), _Shop.page, takes_query=True),
    _Endpoint("/credit/<id>", ("GET",), _Shop.credit),
    _Endpoint("/stock/<id>", ("GET",), _Shop.stock),
    _Endpoint("/reports", ("POST",), _Shop.order_report),
    _Endpoint("/reports/<id>", ("GET",), _Shop.report),
    _Endpoint("/reports/<id>/csv", ("GET",), _Shop.report_csv),
    _Endpoint("/files/<id>", ("PUT",), _Shop.put_file),
    _Endpoint("/messages", ("GET", "POST"), _Shop.messages),
    _Endpoint("/databases", ("POST",), _Shop.create_database),
    _Endpoint("/databases/<id>/schema", ("POST",), _Shop.create_schema),
)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "ShopApi"
    # Headers and body leave in one packet, at once: with a separate write for each,
    # Nagle's algorithm and delayed acknowledgements cost a kept connection 40 ms a request.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def _handle(self) -> None:
        started = time.monotonic()
        answer = self._answer()
        self.server.stopping.wait(self.server.delay)
        # Recorded before it is sent, so that a client with an answer finds its request here.
        self.server.record(Request(self.command, self.path, started, time.monotonic()))
        self._send(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle

    def handle_expect_100(self) -> bool:
        goes_on = super().handle_expect_100()
        self.wfile.flush()  # the client waits for this before it sends the body
        return goes_on

    def _answer(self) -> Answer:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not re.fullmatch("[0-9]{1,9}", length):
            self.close_connection = True  # where the next request begins is unknown
            return _error(HTTPStatus.LENGTH_REQUIRED, "the body needs a Content-Length")
        body = self.rfile.read(int(length))
        token = self.headers.get("Authorization")
        return self.server.shop.answer(self.command, self.path, token, body)

    def _send(self, answer: Answer) -> None:
        raw = answer.body
        body = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: the terminal belongs to the command."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close() waits for the threads
    request_queue_size = 128

    def __init__(self, port: int, shop: _Shop, delay: float) -> None:
        self.shop = shop
        self.delay = delay
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._connections: set[socket.socket] = set()
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own looks the name up, which can take seconds
        self.server_name, self.server_port = HOST, self.socket.getsockname()[1]

    def record(self, request: Request) -> None:
        with self._lock:
            self._requests.append(request)

    def recorded(self) -> list[Request]:
        with self._lock:
            return list(self._requests)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # the client went away
            super().handle_error(request, client_address)

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # its client was faster
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


@final
class ShopApi:
    """The API in a thread of this process: `with ShopApi() as api: fetch(api.address)`."""

    def __init__(
        self,
        port: int = 0,
        *,
        delay: float = 0.0,
        require_token: bool = False,
        token_seconds: float = 3600,
    ) -> None:
        self._server = _Server(port, _Shop(require_token, token_seconds), delay)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="shop-api"
        )

    @property
    def address(self) -> str:
        """Where it serves."""
        return f"http://{HOST}:{self._server.server_port}"

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in the order of their answers."""
        return self._server.recorded()

    def __enter__(self) -> ShopApi:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._thread.join()


def _environment(address: str) -> dict[str, str]:
    """This process's environment, with the API in it and this Python first on PATH."""
    environment = dict(os.environ)
    environment["SHOP_API"] = address
    # Not the real path: that would lead out of a virtual environment.
    folders = [os.path.dirname(sys.executable), environment.get("PATH", os.defpath)]
    environment["PATH"] = os.pathsep.join(folders)
    # A proxy on another machine can't reach this one's loopback address.
    direct = environment.get("no_proxy") or environment.get("NO_PROXY")
    environment["no_proxy"] = environment["NO_PROXY"] = f"{direct},{HOST}" if direct else HOST
    return environment


def _run(command: Sequence[str], address: str) -> int:
    """Run the command to its end; give its exit code as a shell would."""
    # Ctrl-C reaches the command too, and how that ends is the command's to say.
    # A handler that does nothing, because SIG_IGN would be inherited.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        child = subprocess.Popen(command, env=_environment(address))
    except OSError as error:
        print(f"shop_api.py: cannot run {command[0]!r}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    signal.signal(signal.SIGTERM, lambda number, frame: child.terminate())
    code = child.wait()
    return code if code >= 0 else 128 - code


def _serve(address: str) -> int:
    # A shell script starts its background jobs with the signal ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        print(address, flush=True)
        threading.Event().wait()
    return 0


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"not a port between 0 and 65535: {text}")
    return port


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text}")
    return seconds


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the command after `--` (empty: serve until Ctrl-C)."""
    parser = argparse.ArgumentParser(
        prog="shop_api.py",
        usage="shop_api.py [options] [-- COMMAND ARGS...]",
        description="Serve the shop API, for as long as COMMAND runs or until Ctrl-C.",
    )
    parser.add_argument("--port", type=_port, default=0, help="default: any free port")
    parser.add_argument(
        "--delay", type=_seconds, default=0.0, metavar="SECONDS", help="how long each answer takes"
    )
    parser.add_argument(
        "--require-token", action="store_true", help="refuse data without a token from /auth"
    )
    parser.add_argument(
        "--token-seconds", type=_seconds, default=3600.0, metavar="SECONDS",
        help="how long a token from /oauth/token is valid; default: an hour",
    )
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:end])
    command = list(arguments[end + 1 :])
    if end < len(arguments) and not command:
        parser.error("no COMMAND after --")
    return options, command


def main(arguments: Sequence[str]) -> int:
    """Serve as the command line says; give the exit code."""
    options, command = _parse(arguments)
    try:
        api = ShopApi(
            options.port,
            delay=options.delay,
            require_token=options.require_token,
            token_seconds=options.token_seconds,
        )
    except OSError as error:
        print(f"shop_api.py: cannot use port {options.port}: {error.strerror}", file=sys.stderr)
        return 1
    with api:
        return _run(command, api.address) if command else _serve(api.address)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
