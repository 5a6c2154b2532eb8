"""Who may ask a server of ours for what: stands in front of an ASGI application.

A server on 127.0.0.1 can be reached by every page that is open in its user's browser. So a request
must name a host that is ours (a foreign name could be made to point at us), what may change
something must come from a page of our own, and who comes from another machine must know a token.
"""

from __future__ import annotations

import hmac
import html
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from flowtoy_dagster.server.listening import Listener

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_PARAMETER = "token"  # noqa: S105 - where it stands, not what it is
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_READING = ("GET", "HEAD", "OPTIONS")
_GRAPHQL = "/graphql"
_JSON = "application/json"
_OWN_PAGES = ("same-origin", "none")
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
        token: what who asks must know; nothing, by default.
        writable: the paths to which something may be posted.
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
        self._cookie = f"flowtoy-{listener.port}"
        self._writable = writable

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] in ("http", "websocket"):
            request = _Request(scope)
            try:
                self._check_host(request)
                self._check_token(request)
                self._check_origin(request)
                self._check_method(request)
            except Refusal as refusal:
                await _answer(refusal, scope, send)
                return
        await self._app(scope, receive, send)

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
        known = request.bearer or request.cookie(self._cookie)
        if not self._is_right(known):
            why = "a token is needed: use the URL that was printed where the server was started"
            raise Refusal(401, why, [("www-authenticate", "Bearer")])

    def _welcome(self, request: _Request) -> Refusal:
        """The cookie, and the way to where the visitor wants to go."""
        cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
        headers = [("set-cookie", cookie), ("cache-control", "no-store")]
        where = request.without_token
        if request.header("sec-fetch-site") in (*_OWN_PAGES, ""):
            return Refusal(303, "", [*headers, ("location", where)])
        # Where a link elsewhere has led to us, a browser keeps the cookie back until a page of our
        # own asks for the next one.
        return Refusal(200, "", headers, _WAY.format(url=html.escape(where)))

    def _is_right(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), (self._token or "").encode())

    def _check_origin(self, request: _Request) -> None:
        """What a page asks for that is not ours may be read at most, which browsers prevent."""
        if request.method in _READING:
            return
        origin = request.header("origin")
        foreign = origin and urlsplit(origin).netloc.lower() != request.header("host").lower()
        if foreign or request.header("sec-fetch-site") in ("cross-site", "same-site"):
            raise Refusal(403, "a page of another site may not change anything here")

    def _check_method(self, request: _Request) -> None:
        if request.method == "GET" and request.path == _GRAPHQL and "query" in request.parameters:
            raise Refusal(405, "queries are posted", [("allow", "POST")])
        if request.method in (*_READING, "websocket"):
            return
        if request.method != "POST" or request.path not in self._writable:
            raise Refusal(405, "nothing can be changed here", [("allow", "GET")])
        if request.header("content-type").partition(";")[0].strip().lower() != _JSON:
            raise Refusal(415, f"what is posted must be {_JSON}")


class _Request:
    """What matters of an ASGI scope; the method of a websocket is `websocket`."""

    def __init__(self, scope: Scope) -> None:
        self.method: str = scope.get("method", "websocket")
        self.path: str = scope["path"]
        query = scope.get("query_string", b"").decode("latin-1")
        self._query = parse_qsl(query, keep_blank_values=True)
        self._headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }

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

    def cookie(self, name: str) -> str:
        # By hand: the standard library passes over all cookies that follow one that it can't read,
        # and those of other servers on this machine are sent to us too.
        pairs = (part.strip().partition("=") for part in self.header("cookie").split(";"))
        return next((value for key, _, value in pairs if key == name), "")


def _is_address(host: str) -> bool:
    """Whether a host is an address: unlike a name, nobody else can make it point at us."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _answer(refusal: Refusal, scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        # Before it is accepted, closing refuses it.
        await send({"type": "websocket.close", "code": 1008})
        return
    body = refusal.page.encode()
    headers = [(name.encode(), value.encode("latin-1")) for name, value in refusal.headers]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": refusal.code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
