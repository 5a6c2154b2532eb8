"""A run that is carried elsewhere, seen through its status API. No Dagster in here."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import os
import re
import socket
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.json_text import loads
from flowtoy_dagster.runs.status.models import RunStatus
from flowtoy_dagster.runs.status.status_document import read_status

TIMEOUT = 5.0
"""Seconds for which a part of an answer is waited for."""
DEADLINE = 15.0
"""Seconds for which a whole answer is waited for."""
LARGEST_STATUS = 8 << 20
LARGEST_OUTPUTS = 64 << 20
MOST_VALUES = 1_000_000
"""Values in an answer; each takes many times the memory of its text."""
TOKEN_VARIABLE = "FLOWTOY_STATUS_TOKEN"  # noqa: S105 - where it is, not what it is
_LONGEST_REASON = 300


class RemoteError(UsageError):
    """What is asked for is not available from a status API; one line that says why."""


class RemoteRun:
    """The client of a status API.

    Args:
        url: its base, or the address that ends in `/status`; `?token=…`, or the environment's
            `FLOWTOY_STATUS_TOKEN`, is sent as a bearer token.

    Raises:
        UsageError: it is no address.
    """

    def __init__(self, url: str) -> None:
        parts, host = _parts_of(url)
        path = parts.path.rstrip("/").removesuffix("/status")
        self.url = f"{parts.scheme}://{parts.netloc}{path}"
        tokens = urllib.parse.parse_qs(parts.query).get("token", [])
        token = tokens[0] if tokens else os.environ.get(TOKEN_VARIABLE, "")
        if not (token.isascii() and (token.isprintable())):
            raise UsageError("the token of the status URL has characters that no token has")
        self._headers = {"Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        # Proxies of the environment are for what is far away.
        proxies = urllib.request.ProxyHandler({} if _is_loopback(host) else None)
        self._sockets = _Sockets()
        self._opener = urllib.request.build_opener(
            proxies, _NoRedirects, _Http(self._sockets), _Https(self._sockets)
        )

    def document(self) -> dict[str, Any]:
        """The status document.

        Raises:
            RemoteError: it is not available, or is something else.
        """
        found = _parse(self.url + "/status", self._read("/status", LARGEST_STATUS))
        try:
            read_status(found)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
            raise RemoteError(
                f"{self.url}/status is not the status of a flow\n"
                "    is something else served there?"
            ) from None
        document: dict[str, Any] = found
        return document

    def status(self) -> RunStatus:
        """The state of the run.

        Raises:
            RemoteError: it is not known.
        """
        return read_status(self.document())

    def outputs(self, step: str | None = None) -> dict[str, Any]:
        """`{step: {output: value}}` of the steps that have finished, or of one of them.

        Raises:
            RemoteError: they are not available.
        """
        found: dict[str, Any] = json.loads(self.outputs_json(step))
        return found

    def outputs_json(self, step: str | None = None) -> bytes:
        """What `outputs` gives, as JSON text.

        Raises:
            RemoteError: they are not available.
        """
        query = "" if step is None else "?" + urllib.parse.urlencode({"step": step})
        text = self._read(f"/outputs{query}", LARGEST_OUTPUTS)
        if not isinstance(_parse(self.url + "/outputs", text), dict):
            raise RemoteError(f"{self.url}/outputs does not give the outputs of a flow")
        return text

    def _read(self, path: str, largest: int) -> bytes:
        address = self.url + path
        request = urllib.request.Request(address, headers=self._headers)  # noqa: S310 - http alone
        with self._sockets.closed_after(DEADLINE) as is_late:
            try:
                with self._opener.open(request, timeout=TIMEOUT) as response:
                    text: bytes = response.read(largest + 1)
            except urllib.error.HTTPError as error:
                with error:
                    raise RemoteError(f"{address} answers {error.code}{_reason(error)}") from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                if is_late():
                    raise _too_slow(address) from None
                if isinstance(error, OSError):
                    raise RemoteError(f"{address} can't be reached: {_plain(error)}") from None
                raise RemoteError(f"{address} does not speak HTTP: {_plain(error)}") from None
            if is_late():
                raise _too_slow(address)
        if len(text) > largest:
            raise RemoteError(f"{address} answers with more than {largest >> 20} MB")
        return text


def _parts_of(url: str) -> tuple[urllib.parse.SplitResult, str]:
    """The parts of a status URL, and its host.

    Raises:
        UsageError: it is none; without what may be secret in it.
    """
    # A user, a password, a token.
    shown = re.sub(r"(?<=//)[^/]*@|^[^/]*@", "", url.partition("?")[0])
    wrong = UsageError(f"'{shown}' is not a status URL\n    it looks like http://127.0.0.1:8000")
    try:
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not host:
        raise wrong
    if "@" in parts.netloc:
        raise UsageError(
            f"the status URL of '{shown}' names a user, and a status API knows none\n"
            f"    give its token: ?token=…, or the variable {TOKEN_VARIABLE}"
        )
    return parts, host


def _too_slow(address: str) -> RemoteError:
    return RemoteError(f"{address} gives no whole answer within {DEADLINE:.0f} s")


def _parse(address: str, text: bytes) -> Any:
    if sum(map(text.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise RemoteError(f"{address} answers with more than {MOST_VALUES} values")
    try:
        return loads(text)
    except ValueError:
        raise RemoteError(
            f"{address} does not answer in JSON\n    is something else served there?"
        ) from None


class _Sockets:
    """The connections that are open, so that they can be closed when an answer takes too long.

    A timeout of a socket starts anew with each part that comes.
    """

    def __init__(self) -> None:
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()

    def add(self, one: socket.socket) -> None:
        """Note a connection that was made."""
        with self._lock:
            self._open.append(one)

    @contextlib.contextmanager
    def closed_after(self, seconds: float) -> Iterator[Callable[[], bool]]:
        """Close what is connected in a block after some time; gives whether that was done."""
        late = threading.Event()

        def close() -> None:
            late.set()
            with self._lock:
                for one in self._open:
                    with contextlib.suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, close)
        timer.daemon = True
        timer.start()
        try:
            yield late.is_set
        finally:
            timer.cancel()
            with self._lock:
                self._open.clear()


class _Http(urllib.request.HTTPHandler):
    """Connects so that the connection can be closed by somebody else."""

    def __init__(self, sockets: _Sockets) -> None:
        super().__init__()
        self._sockets = sockets

    def http_open(self, request: urllib.request.Request) -> Any:
        """Ask a server."""
        return self.do_open(_noted(http.client.HTTPConnection, self._sockets), request)


class _Https(urllib.request.HTTPSHandler):
    """The same, over TLS."""

    def __init__(self, sockets: _Sockets) -> None:
        super().__init__()
        self._sockets = sockets

    def https_open(self, request: urllib.request.Request) -> Any:
        """Ask a server."""
        return self.do_open(_noted(http.client.HTTPSConnection, self._sockets), request)


def _noted(kind: type[http.client.HTTPConnection], sockets: _Sockets) -> Any:
    """A class of connections that are noted when they are made."""

    class Noted(kind):  # type: ignore[valid-type, misc]
        def connect(self) -> None:
            super().connect()
            sockets.add(self.sock)

    return Noted


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A status API never redirects; a page for signing in does."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none: the answer itself is reported."""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _reason(error: urllib.error.HTTPError) -> str:
    """What an answer says of itself, if it is one of ours."""
    try:
        told = json.loads(error.read(1 << 16))["error"]
    except (ValueError, KeyError, TypeError, OSError, RecursionError, http.client.HTTPException):
        return f" ({_one_line(str(error.reason))})" if error.reason else ""
    return f": {_one_line(str(told))}"


def _plain(error: BaseException) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    if isinstance(cause, http.client.RemoteDisconnected):
        return "it closed the connection without an answer"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return "it does not speak TLS as https does"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return _one_line(str(cause)) or type(cause).__name__


def _one_line(text: str) -> str:
    line = " ".join(text[: 2 * _LONGEST_REASON].split())
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"
