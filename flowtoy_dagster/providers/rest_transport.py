"""The network half of the rest provider: shared connections, and one deadline over a whole call.

Loaded on the first call, not when a configuration is checked: requests takes long to import.
"""

from __future__ import annotations

import functools
import os
import socket
import threading
import time
from contextlib import suppress
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from flowtoy_dagster.providers.rest_content import Answer, Call
from flowtoy_dagster.providers.rest_errors import (
    NoAnswerError,
    Progress,
    is_dropped,
    plain_words,
    timed_out,
)

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_CHUNK = 1 << 16
_POOL_SIZE = 32
_LONGEST_WAIT = 1e6
"""Seconds; more than this overflows what sockets and locks can wait."""


def fetch(call: Call) -> Answer:
    """Make a call.

    Raises:
        NoAnswerError: the network, the server or a limit kept an answer from coming.
    """
    if call.verify is False:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    exchange = _Exchange(call)
    started = time.perf_counter()
    exchange.start()
    try:
        # An interrupted join() would take the thread for finished.
        finished = exchange.done.wait(min(call.timeout, _LONGEST_WAIT))
    finally:
        exchange.abandon()
    if not finished:
        raise NoAnswerError(timed_out(call.timeout))
    if exchange.error is not None:
        raise exchange.told(exchange.error) from None
    response = exchange.response
    assert response is not None
    elapsed = time.perf_counter() - started
    headers = dict(response.headers)
    return Answer(response.status_code, headers, response.url, elapsed, exchange.body)


class _Exchange(threading.Thread):
    """A call in a thread of its own.

    Sockets have timeouts for each operation only, and looking up a name has none. The caller waits
    for this thread as long as the call may take, then leaves it; its socket is shut down, so it
    ends too. (A thread that waits for a name ends when the resolver gives up.)
    """

    def __init__(self, call: Call) -> None:
        super().__init__(name="flowtoy-rest", daemon=True)
        self.call = call
        self.url = call.url
        self.response: requests.Response | None = None
        self.body = bytearray()
        self.error: Exception | None = None
        self.answering = False
        self.redirected = False
        self.connected = False
        self.done = threading.Event()
        self._abandoned = False
        self._socket: socket.socket | None = None

    def run(self) -> None:
        _current.set(self)
        call = self.call
        timeout = min(call.timeout, _LONGEST_WAIT)
        try:
            session = _session(os.getpid())
            self.response = session.send(
                session.prepare_request(self._request()),
                stream=True,
                timeout=(timeout, timeout),
                verify=_trusted(call.verify),
                cert=call.cert,
                allow_redirects=call.allow_redirects,
            )
        except Exception as error:  # noqa: BLE001 - the caller's thread raises it
            self.error = error
        finally:
            self._socket = None
            self.done.set()

    def _request(self) -> requests.Request:
        call = self.call
        # http.client would write text as Latin-1.
        headers = {k: v if v.isascii() else v.encode() for k, v in call.headers.items()}

        def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers["Authorization"] = call.authorization or ""
            return request

        return requests.Request(
            call.method,
            call.url,
            params=list(call.params),
            headers=headers,
            data=call.body,
            auth=authorize if call.authorization is not None else None,
        )

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
        """The error as the provider tells it; a mistake of ours as it is."""
        call = self.call
        progress = Progress(call.label, self.url, call.timeout, self.answering, self.redirected)
        words = plain_words(error, progress)
        return NoAnswerError(words) if words else error

    def read(self, response: requests.Response) -> None:
        """Take the body in; that of a redirect is overwritten by the next answer's."""
        self.answering = True
        self.body = bytearray()
        with response:
            for chunk in response.iter_content(_CHUNK):
                self.body += chunk
                if len(self.body) > self.call.max_bytes:
                    limit = f"max_response_bytes ({self.call.max_bytes})"
                    raise NoAnswerError(f"the answer is larger than {limit}")
        self.answering = False
        self.redirected = response.is_redirect
        self._socket = None


_current: ContextVar[_Exchange] = ContextVar("flowtoy_rest_exchange")


class _Http(HTTPConnection):
    """A connection that tells the exchange it serves of its socket."""

    def connect(self) -> None:
        exchange = _current.get()
        exchange.connected = True
        super().connect()
        exchange.use(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _current.get().use(self.sock)
        super().request(*args, **kwargs)


class _Https(_Http, HTTPSConnection):
    """The same over TLS."""


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Https


class _Adapter(HTTPAdapter):
    """Sends each request of an exchange and reads its answer, redirects included."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _use_own_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        _use_own_pools(manager)
        return manager

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        exchange = _current.get()
        exchange.url = request.url or ""
        # The session doesn't trust the environment, for it would send a .netrc's passwords.
        kwargs["proxies"] = requests.utils.get_environ_proxies(exchange.url, no_proxy=None)
        response = None
        while response is None:
            # Each connection that fails leaves the pool, so a new one comes in the end.
            exchange.connected = False
            try:
                response = super().send(request, *args, **kwargs)
            except requests.ConnectionError as error:
                if not exchange.may_repeat(request.method, error):
                    raise
        exchange.read(response)
        return response


def _use_own_pools(manager: urllib3.PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


@functools.lru_cache(maxsize=1)
def _session(process: int) -> requests.Session:
    """The connections of a process; a fork must not write to those of its parent."""
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = _Adapter(pool_connections=_POOL_SIZE, pool_maxsize=_POOL_SIZE)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _trusted(verify: bool | str) -> bool | str:
    if verify is not True:
        return verify
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    return next((os.environ[name] for name in names if os.environ.get(name)), True)
