"""Why a call got no answer, in plain words: no Python repr, no user, password or query of a URL."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

import requests
import urllib3

_NETWORK = (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError, ValueError)
_DROPPED = (
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
    http.client.IncompleteRead,
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
)
_INVALID_URL = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    urllib3.exceptions.LocationValueError,
)
_WORDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (requests.TooManyRedirects, "more than {redirects} redirects"),
    (_INVALID_URL, "'{label}' is not a URL that can be called"),
    (requests.exceptions.InvalidHeader, "a header has a character that HTTP does not allow"),
    (socket.gaierror, "the name {host} could not be resolved"),
    (ssl.SSLCertVerificationError, "TLS error with {origin}: {error.verify_message}"),
    (_DROPPED, "the server closed the connection {moment}"),
    (ssl.SSLError, "TLS error with {origin}: {reason}"),
    (urllib3.exceptions.DecodeError, "the compression of the answer is damaged"),
    (http.client.HTTPException, "the answer of {origin} is not valid HTTP"),
)


class NoAnswer(Exception):
    """No usable answer came; the text says why, in plain words."""


def timed_out(timeout: float) -> str:
    """The words for a call that took longer than `timeout` seconds."""
    return f"timed out after {timeout:g} s"


def is_dropped(error: Exception) -> bool:
    """Whether the other side closed the connection."""
    return any(isinstance(cause, _DROPPED) for cause in _causes(error))


def plain_words(
    error: Exception, url: str, label: str, timeout: float, answering: bool
) -> str | None:
    """What an error says to a user; None where neither network nor data is to blame.

    Args:
        error: what the call raised.
        url: the URL that was being called, after redirects.
        label: the URL that was to be called, as a note may show it.
        timeout: seconds that the call had.
        answering: whether the answer had begun.
    """
    if isinstance(error, NoAnswer):
        return str(error)
    if not isinstance(error, _NETWORK):
        return None
    causes = _causes(error)
    origin, host = _places(url, causes)
    moment = "in the middle of the answer" if answering else "before answering"
    for kinds, words in _WORDS:
        for cause in causes:
            if isinstance(cause, kinds):
                return words.format(
                    error=cause,
                    label=label,
                    origin=origin,
                    host=host,
                    moment=moment,
                    reason=_reason(cause),
                    redirects=requests.models.DEFAULT_REDIRECT_LIMIT,
                )
    if any(isinstance(cause, TimeoutError) and not cause.errno for cause in causes):
        return timed_out(timeout)
    for cause in causes:
        if isinstance(cause, OSError) and cause.strerror:
            return f"could not connect to {origin}: {_reason(cause)}"
    first = causes[0]
    # Bare ones are about files and proxies, and say which.
    return str(first) if type(first) is OSError else f"the call failed ({type(first).__name__})"


def _causes(error: BaseException) -> list[BaseException]:
    """An exception and those that it came from, the first cause first."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.insert(0, cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _places(url: str, causes: Sequence[BaseException]) -> tuple[str, str]:
    """Whom the call could not reach, and whose name: the server, or the proxy before it."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if any(isinstance(cause, urllib3.exceptions.ProxyError) for cause in causes):
        return f"the proxy for {origin}", "of the proxy"
    return origin, f"'{parts.hostname}'"


def _reason(cause: BaseException) -> str:
    reason = getattr(cause, "strerror", None) or type(cause).__name__
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return cause.reason.replace("_", " ").lower()
    return str(reason[0].lower() + reason[1:])
