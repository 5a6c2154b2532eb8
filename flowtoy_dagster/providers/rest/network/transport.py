"""The network half of the rest provider: shared connections, and one deadline over a whole call.

Loaded on the first call, not when a configuration is checked: requests takes long to import.
"""

from __future__ import annotations

import functools
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.hooks import dispatch_hook
from urllib3.connection import HTTPConnection, HTTPSConnection

from flowtoy_dagster.machine.kept_threads import KeptThreads
from flowtoy_dagster.providers.rest.content import Answer, Call, split_user
from flowtoy_dagster.providers.rest.network.compression import decoded
from flowtoy_dagster.providers.rest.network.errors import (
    NoAnswerError,
    Progress,
    is_dropped,
    plain_words,
    timed_out,
)
from flowtoy_dagster.providers.rest.network.headers import headers_of
from flowtoy_dagster.providers.rest.network.heads import CheckedResponse
from flowtoy_dagster.providers.rest.network.redirects import (
    MOST,
    Hide,
    body_lost,
    is_same_host,
    location_of,
    redirected,
)
from flowtoy_dagster.providers.rest.urls import why_no_proxy

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_CHUNK = 1 << 16
_FOLD = re.compile(r"\s*[\r\n]+\s*")
"""Between the lines of a header that continues in the next one."""
_POOL_SIZE = 32
_LONGEST_WAIT = 1e6
"""Seconds; more than this overflows what sockets and locks can wait."""


def fetch(call: Call, hide: Hide = str, warn: Callable[[str], None] | None = None) -> Answer:
    """Make a call.

    Args:
        call: what to send.
        hide: gives a text without the step's secrets.
        warn: takes warnings of redirects that lose something.

    Raises:
        NoAnswerError: the network, the server or a limit kept an answer from coming.
    """
    if call.verify is False:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    exchange = _Exchange(call, hide)
    started = time.perf_counter()
    _threads(os.getpid()).begin(exchange.run, exchange.done.set)
    try:
        # An interrupted join() would take the thread for finished.
        finished = exchange.done.wait(min(call.timeout, _LONGEST_WAIT))
    finally:
        exchange.abandon()
    for text in exchange.warnings:
        if warn is not None:
            warn(text)
    if not finished:
        raise NoAnswerError(timed_out(call.timeout), sent=exchange.sent)
    if exchange.error is not None:
        raise exchange.told(exchange.error) from None
    response = exchange.response
    assert response is not None
    elapsed = time.perf_counter() - started
    headers = {k: _FOLD.sub(" ", v) for k, v in response.headers.items()}
    return Answer(
        response.status_code, headers, exchange.url, elapsed, exchange.body, exchange.is_elsewhere
    )


class _Exchange:
    """A call that runs in another thread.

    Sockets have timeouts for each operation only, and looking up a name has none. The caller waits
    for this thread as long as the call may take, then leaves it; its socket is shut down, so the
    call ends too. (One that waits for a name ends when the resolver gives up.)
    """

    def __init__(self, call: Call, hide: Hide) -> None:
        self.call = call
        self.hide = hide
        self.url = self.written = call.url
        self.response: requests.Response | None = None
        self.body = bytearray()
        self.error: Exception | None = None
        self.answering = False
        self.redirected = False
        self.is_elsewhere = False
        self.connected = False
        self.sent = False
        self.warnings: list[str] = []
        self.done = threading.Event()
        self._abandoned = False
        self._socket: socket.socket | None = None

    def run(self) -> None:
        """Make the call."""
        token = _current.set(self)
        try:
            self.response = self._answered()
        except Exception as error:  # noqa: BLE001 - the caller's thread raises it
            self.error = error
            if isinstance(error, requests.exceptions.InvalidHeader):
                self._close_socket()
        finally:
            self._socket = None
            _current.reset(token)

    def _close_socket(self) -> None:
        """Close the socket of an answer with an impossible header, which urllib3 leaves open."""
        used = self._socket
        if used is not None:
            with suppress(OSError, AttributeError):
                descriptor = used.detach()
                if descriptor >= 0:
                    os.close(descriptor)

    def _answered(self) -> requests.Response:
        """The answer that is no redirect, or the first one where they are not followed."""
        call = self.call
        for _ in range(MOST + 1):
            response = self._send(call)
            location = location_of(response.status_code, response.headers)
            if location is None or not call.allow_redirects:
                return response
            self.redirected = True
            lost = body_lost(call, response.status_code)
            call = redirected(call, self.url, response.status_code, location, self.hide)
            self.written = call.url
            self.warnings += [lost] if lost is not None else []
            if not is_same_host(urlsplit(self.url), urlsplit(call.url)):
                self.is_elsewhere = True
        raise NoAnswerError(f"more than {MOST} redirects")

    def _send(self, call: Call) -> requests.Response:
        timeout = min(call.timeout, _LONGEST_WAIT)
        body: Any = call.body
        if body is not None and not isinstance(body, bytes):
            body = body.stream()
            # requests sends a stream of no bytes in chunks, which not every server takes.
            body = body if body.len else body.read()
        request = requests.PreparedRequest()
        request.prepare(
            method=call.method,
            url=call.url,
            params=list(call.params),
            headers=headers_of(call),
            data=body,
        )
        options = {
            "stream": True,
            "timeout": (timeout, timeout),
            "verify": _trusted(call.verify),
            "cert": call.cert,
        }
        if call.sign is not None:
            request = call.sign(request)
        response = _adapter(os.getpid()).send(request, **options)
        if call.sign is None:
            return response
        # Auth objects may answer a challenge by a hook, which looks at the body and sends again.
        response._content = bytes(self.body)
        dispatch: Callable[..., requests.Response] = dispatch_hook
        return dispatch("response", request.hooks, response, **options)

    def use(self, used: socket.socket | None) -> None:
        """Note the socket that is used; raises where the call is over."""
        self._socket = used
        if self._abandoned:
            raise TimeoutError

    def abandon(self) -> None:
        """End what the thread waits for, if it still runs."""
        self._abandoned = True
        used = self._socket
        if used is not None:
            with suppress(OSError):
                # SSLSocket's own method would pull the TLS layer from under the reader.
                socket.socket.shutdown(used, socket.SHUT_RDWR)

    def may_repeat(self, method: str | None, error: Exception) -> bool:
        """Whether a request failed only because a kept connection had been closed meanwhile."""
        fresh = self.connected or self._abandoned
        return is_dropped(error) and method in _IDEMPOTENT and not fresh

    def told(self, error: Exception) -> Exception:
        """The error as the provider reports it; a bug of ours as it is."""
        call = self.call
        progress = Progress(call.label, self.written, call.timeout, self.answering, self.redirected)
        words = plain_words(error, progress)
        return NoAnswerError(words, sent=self.sent) if words else error

    def read(self, response: requests.Response) -> None:
        """Take the body in; that of a redirect is overwritten by the next answer's."""
        self.answering = True
        self.body = bytearray()
        with response:
            transfer = {part.strip().lower() for part in _header(response, "transfer-encoding")}
            if not transfer <= {"", "chunked", "identity"}:
                raise NoAnswerError("the answer has a Transfer-Encoding that was not asked for")
            pieces = response.raw.stream(_CHUNK, decode_content=False)
            chunks = decoded(pieces, ",".join(_header(response, "content-encoding")))
            for chunk in limited(chunks, self.call.max_bytes):
                if self._takes(response, chunk):
                    self.body += chunk
        self.answering = False
        self._socket = None

    def _takes(self, response: requests.Response, chunk: bytes) -> bool:
        """Hand a piece of the body on; whether the answer must hold it."""
        to = self.call.body_to
        if to is None or response.status_code not in to.statuses:
            return True
        if self._abandoned:
            raise TimeoutError
        to.take(chunk)
        return to.is_kept


def limited(chunks: Iterator[bytes], most: int | None) -> Iterator[bytes]:
    """The pieces of a body; raises NoAnswerError where it has more than `most` bytes."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if most is not None and size > most:
            raise NoAnswerError(f"the answer is larger than max_response_bytes ({most})")
        yield chunk


def _header(response: requests.Response, name: str) -> list[str]:
    return (response.headers.get(name) or "").split(",")


_current: ContextVar[_Exchange] = ContextVar("flowtoy_rest_exchange")


class _Http(HTTPConnection):
    """A connection that gives its socket to the exchange that it serves."""

    response_class = CheckedResponse

    def connect(self) -> None:
        exchange = _current.get()
        exchange.connected = True
        super().connect()
        exchange.sent = True
        exchange.use(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        exchange = _current.get()
        exchange.sent = exchange.sent or self.sock is not None
        exchange.use(self.sock)
        super().request(*args, **kwargs)


class _Https(_Http, HTTPSConnection):
    """The same over TLS."""


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Https


class _Adapter(HTTPAdapter):
    """Sends the requests of an exchange and reads their answers."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _use_own_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        _use_own_pools(manager)
        return manager

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        _, authorization = split_user(proxy)
        return {"Proxy-Authorization": authorization} if authorization else {}

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        exchange = _current.get()
        exchange.url = request.url or ""
        kwargs["proxies"] = _proxies(exchange.url, exchange.call.proxy)
        cookies = exchange.call.cookies
        if cookies is not None:
            cookies.add_to(request)
        response = None
        while response is None:
            # Each connection that fails leaves the pool, so a new one comes in the end.
            exchange.connected = False
            body: Any = request.body
            if hasattr(body, "rewind"):
                body.rewind()
            try:
                response = super().send(request, *args, **kwargs)
            except requests.ConnectionError as error:
                if not exchange.may_repeat(request.method, error):
                    raise
        if cookies is not None:
            cookies.take_from(request, response)
        exchange.read(response)
        return response


def _use_own_pools(manager: urllib3.PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


def _proxies(url: str, given: str | bool | None) -> dict[str, str]:
    """The proxy for a URL: the one that is given, or that of the environment.

    Raises:
        NoAnswerError: it is one that can't be used.
    """
    if given is not None:
        return {"http": given, "https": given} if isinstance(given, str) else {}
    proxies: dict[str, str] = requests.utils.get_environ_proxies(url, no_proxy=None)
    proxy = requests.utils.select_proxy(url, proxies) or ""
    problem = why_no_proxy(proxy)
    if problem:
        raise NoAnswerError(f"the environment names a proxy {problem}", sent=False)
    return proxies


@functools.lru_cache(maxsize=1)
def _threads(process: int) -> KeptThreads:
    """The threads of a process; those of its parent are not there after a fork."""
    return KeptThreads("flowtoy-rest")


@functools.lru_cache(maxsize=1)
def _adapter(process: int) -> _Adapter:
    """The connections of a process; a fork must not write to those of its parent.

    There is no requests.Session: it has a memory for cookies, reads .netrc, and follows redirects
    by rules of its own.
    """
    return _Adapter(pool_connections=_POOL_SIZE, pool_maxsize=_POOL_SIZE)


def _trusted(verify: bool | str) -> bool | str:
    if verify is not True:
        return verify
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    return next((os.environ[name] for name in names if os.environ.get(name)), True)
