"""Which requests reach an application of ours: stands in front of it and denies by default.

A server on 127.0.0.1 can be reached by every user of the machine, and by every page that is open in
a browser there. So a request must name a host that is ours (a foreign name could be made to point
at us), must prove that it knows the token, and may only read, unless it is one of the few that are
listed as writable and comes from a page of our own.
"""

from __future__ import annotations

import hmac
import html
import ipaddress
import json
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from flowtoy_dagster.server.http.endpoint import Listener

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_PARAMETER = "token"  # noqa: S105 - where it stands, not what it is
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
LARGEST_BODY = 8 << 20
"""Bytes that may be posted."""
_READING = ("GET", "HEAD")
_JSON = "application/json"
_OWN_PAGES = ("same-origin", "none")
_FOREIGN_PAGES = ("same-site", "cross-site")
_ODD_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]|\A(?!/)|\A//|/\.\.?(?:/|\Z)")
"""What a router may take for another path than we do: a regular expression's `$` also matches
before a newline."""
_SINGLE = frozenset({"host", "origin", "authorization", "content-type", "content-length",
                     "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "x-forwarded-proto"})
"""Headers of which one alone may be sent: we and the application must see the same."""
_PROTECTION = {
    b"content-security-policy": b"frame-ancestors 'none'",
    b"x-frame-options": b"DENY",
    b"x-content-type-options": b"nosniff",
    b"cross-origin-resource-policy": b"same-origin",
}
"""Added to every answer: no other site may show our pages in a frame, or load what we serve."""
_WAY = """<!doctype html><meta charset="utf-8"><title>flowtoy</title>
<meta http-equiv="refresh" content="0;url={url}"><a href="{url}">flowtoy</a>
"""


class Refusal(Exception):  # noqa: N818 - what it is
    """A request that is not passed on.

    Attributes:
        code: the HTTP status.
        headers: of the answer.
        page: what is answered; by default the reason, as JSON.
    """

    def __init__(
        self, code: int, why: str, headers: Iterable[tuple[str, str]] = (), page: str = ""
    ) -> None:
        self.code = code
        self.headers = [("content-type", "text/html; charset=utf-8" if page else _JSON), *headers]
        self.page = page or json.dumps({"error": why})
        super().__init__(why)


class Guard:
    """Passes on to an application what may be asked of it.

    Args:
        app: the application.
        listener: what it is served on.
        hosts: more names by which it may be reached.
        token: what a visitor must know; nothing, by default.
        writable: the paths to which JSON may be posted, and where websockets are; nothing else can
            be done there, and everywhere else things can only be read.
    """

    def __init__(
        self,
        app: App,
        listener: Listener,
        *,
        hosts: Iterable[str] = (),
        token: str | None = None,
        writable: Collection[str] = (),
    ) -> None:
        self._app = app
        self._any_address = listener.is_everywhere
        self._hosts = {name.lower() for name in (*_LOCAL_NAMES, listener.host, *hosts)}
        if listener.is_everywhere:
            self._hosts |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self._token = token
        # Browsers send a cookie to the servers on all ports of a host: it must not be the token.
        self._session = secrets.token_urlsafe(24)
        self._cookie = f"flowtoy-{listener.port}"
        self._writable = writable

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or reject it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        send = _protected(send)
        try:
            request = _Request(scope)
            self._check_form(request)
            self._check_host(request)
            self._check_token(request)
            self._check_origin(request)
            self._check_method(request)
            if request.method == "POST":
                receive = _replayed(await _body(receive), receive)
        except Refusal as refusal:
            await _answer(refusal, scope, send)
            return
        await self._app(scope, receive, send)

    def _check_form(self, request: _Request) -> None:
        """What could be read in two ways is not passed on."""
        if _ODD_PATH.search(request.path):
            raise Refusal(400, "this path can be read in more than one way")
        if request.doubled:
            raise Refusal(400, f"the header {request.doubled} was sent twice")

    def _check_host(self, request: _Request) -> None:
        host = request.host
        if host in self._hosts or (self._any_address and _is_address(host)):
            return
        raise Refusal(421, f"this server does not go by the name '{host}': see --allow-host")

    def _check_token(self, request: _Request) -> None:
        if self._token is None:
            return
        if request.method == "GET" and request.token_given:
            if not self._is_right(request.token_given):
                raise Refusal(401, "this token is wrong: see where the server was started")
            raise self._welcome(request)
        if not (self._is_right(request.bearer) or self._knows_session(request)):
            why = "a token is needed: use the URL that was printed where the server was started"
            raise Refusal(401, why, [("www-authenticate", "Bearer")])

    def _knows_session(self, request: _Request) -> bool:
        given = request.cookies(self._cookie, f"__Host-{self._cookie}")
        return any(hmac.compare_digest(each.encode(), self._session.encode()) for each in given)

    def _welcome(self, request: _Request) -> Refusal:
        """The cookie, and the way to where the visitor wants to go."""
        rules = "Path=/; HttpOnly; SameSite=Strict"
        cookie = f"{self._cookie}={self._session}; {rules}"
        if request.header("x-forwarded-proto").lower() == "https":
            # Behind TLS, it can have the form that no other server can set.
            cookie = f"__Host-{self._cookie}={self._session}; {rules}; Secure"
        headers = [("set-cookie", cookie), ("cache-control", "no-store"),
                   ("referrer-policy", "no-referrer")]
        where = request.without_token
        if request.header("sec-fetch-site") in (*_OWN_PAGES, ""):
            return Refusal(303, "", [*headers, ("location", where)])
        # Where a link elsewhere has led to us, a browser keeps the cookie back until a page of our
        # own asks for the next one.
        return Refusal(200, "", headers, _WAY.format(url=html.escape(where)))

    def _is_right(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), (self._token or "").encode())

    def _check_origin(self, request: _Request) -> None:
        """A page that is not ours may lead to ours, and nothing else."""
        origin, site = request.header("origin"), request.header("sec-fetch-site")
        if request.method in _READING:
            leads_here = (request.header("sec-fetch-mode") in ("", "navigate")
                          and request.header("sec-fetch-dest") in ("", "document"))
            if site in _FOREIGN_PAGES and not leads_here:
                raise Refusal(403, "a page of another site may not load anything from here")
            return
        foreign = origin and urlsplit(origin).netloc.lower() != request.header("host").lower()
        if foreign or site in _FOREIGN_PAGES:
            raise Refusal(403, "a page of another site may not change anything here")
        by_cookie = self._token is not None and not request.bearer
        if by_cookie and not origin and site not in _OWN_PAGES:
            raise Refusal(403, "a browser says from which page it asks: send Origin, or the token")

    def _check_method(self, request: _Request) -> None:
        if request.path in self._writable:
            if request.method == "websocket":
                return
            if request.method != "POST":
                raise Refusal(405, "queries are posted", [("allow", "POST")])
            if request.header("content-type").partition(";")[0].strip().lower() != _JSON:
                raise Refusal(415, f"what is posted must be {_JSON}")
        elif request.method not in _READING:
            why = f"{request.method} is not possible: it can only be read"
            raise Refusal(405, why, [("allow", "GET")])


class _Request:
    """What matters of an ASGI scope; the method of a websocket is `websocket`."""

    def __init__(self, scope: Scope) -> None:
        self.method: str = scope.get("method", "websocket")
        self.path: str = scope["path"]
        query = scope.get("query_string", b"").decode("latin-1")
        self._query = parse_qsl(query, keep_blank_values=True)
        self._headers: dict[str, str] = {}
        self.doubled = ""
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            if name in self._headers and name in _SINGLE:
                self.doubled = name
            before = self._headers.get(name)
            self._headers[name] = value if before is None else f"{before}; {value}"

    def header(self, name: str) -> str:
        return self._headers.get(name, "")

    @property
    def host(self) -> str:
        """The name that is asked for, without a port."""
        try:
            return urlsplit(f"//{self.header('host')}").hostname or ""
        except ValueError:
            return ""

    @property
    def parameters(self) -> dict[str, str]:
        return dict(self._query)

    @property
    def token_given(self) -> str:
        return self.parameters.get(TOKEN_PARAMETER, "")

    @property
    def without_token(self) -> str:
        """Where the request would go without its token; never to another host."""
        query = urlencode([(key, value) for key, value in self._query if key != TOKEN_PARAMETER])
        return "/" + quote(self.path.lstrip("/")) + (f"?{query}" if query else "")

    @property
    def bearer(self) -> str:
        kind, _, token = self.header("authorization").partition(" ")
        return token.strip() if kind.lower() == "bearer" else ""

    def cookies(self, *names: str) -> list[str]:
        """The values of all cookies that have one of these names."""
        # By hand: the standard library passes over all cookies that follow one that it can't read,
        # and those of other servers on this machine are sent to us too, under our name as well.
        pairs = (part.strip().partition("=") for part in self.header("cookie").split(";"))
        return [value for key, _, value in pairs if key in names]


def _is_address(host: str) -> bool:
    """Whether a host is an address: unlike a name, nobody else can make it point at us."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _protected(send: Send) -> Send:
    """`send`, with what protects our pages from other sites added to each answer."""

    async def protected(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = [tuple(each) for each in message.get("headers", ())]
            names = {name.lower() for name, _ in there} - {b"content-security-policy"}
            more = [each for each in _PROTECTION.items() if each[0] not in names]
            message = {**message, "headers": [*there, *more]}
        await send(message)

    return protected


async def _body(receive: Receive) -> bytes:
    """What was posted, all of it.

    Raises:
        Refusal: it is too large, or the visitor is gone.
    """
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Refusal(400, "the request has no end")
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > LARGEST_BODY:
            raise Refusal(413, f"more than {LARGEST_BODY >> 20} MiB are posted")
    return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """`receive`, from the start of a body that was read already."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return first.pop() if first else await receive()

    return replayed


async def _answer(refusal: Refusal, scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        # Before it is accepted, closing rejects it.
        await send({"type": "websocket.close", "code": 1008})
        return
    body = refusal.page.encode()
    headers = [(name.encode(), value.encode("latin-1")) for name, value in refusal.headers]
    headers.append((b"content-length", str(len(body)).encode()))
    if not any(name == b"cache-control" for name, _ in headers):
        headers.append((b"cache-control", b"no-store"))
    await send({"type": "http.response.start", "status": refusal.code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
