"""Why a call got no answer, in plain words: no Python repr, no user, password or query of a URL."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
import urllib3

from flowtoy_dagster.providers.rest.network.compression import CodingError
from flowtoy_dagster.providers.rest.network.heads import CutHeadError
from flowtoy_dagster.providers.rest.network.redirects import RedirectError

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
_INVALID_ANSWER = (urllib3.exceptions.InvalidChunkLength, urllib3.exceptions.InvalidHeader)
_NOT_TLS = (
    "WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG",
)
"""What OpenSSL calls an answer that is plain HTTP, by its versions."""
_TLS = "TLS error with {origin}: "
_CLOSED = "the server closed the connection {moment}"
_NOT_A_URL = "{target} is not a URL that can be called"
_NOT_HTTP = "the answer of {origin} is not valid HTTP"
_WORDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (_INVALID_ANSWER, _NOT_HTTP),
    (_INVALID_URL, _NOT_A_URL),
    (requests.exceptions.InvalidHeader, "a header has a character that HTTP does not allow"),
    (socket.gaierror, "the name {host} could not be resolved"),
    (ssl.SSLCertVerificationError, _TLS + "{error.verify_message}"),
    (CutHeadError, "the server closed the connection in the middle of the answer's headers"),
    (_DROPPED, _CLOSED),
    (urllib3.exceptions.DecodeError, "the compression of the answer is damaged"),
    (http.client.HTTPException, _NOT_HTTP),
    (UnicodeError, "the request has a character that can't be sent"),
    (ValueError, _NOT_A_URL),
    (ssl.SSLError, _TLS + "{reason}"),
)


TIMED_OUT = "timed out"
"""How the words for a timeout begin."""


class NoAnswerError(Exception):
    """No usable answer came; the text says why, in plain words.

    Args:
        words: why.
        sent: whether the request, or a part of it, may have reached a server.
    """

    def __init__(self, words: str, *, sent: bool = True) -> None:
        super().__init__(words)
        self.sent = sent


@dataclass(frozen=True)
class Progress:
    """How far a call came.

    Attributes:
        label: the URL that was to be called, as a note may show it.
        url: the URL that was being called, as written; it differs after redirects.
        timeout: seconds that the call had.
        answering: whether the answer had begun.
        redirected: whether an answer had redirected it.
    """

    label: str
    url: str
    timeout: float
    answering: bool
    redirected: bool


def timed_out(timeout: float) -> str:
    """The words for a call that took longer than `timeout` seconds."""
    return f"{TIMED_OUT} after {timeout:g} s"


def is_dropped(error: Exception) -> bool:
    """Whether the other side closed the connection."""
    return any(isinstance(cause, _DROPPED) for cause in _causes(error))


def plain_words(error: Exception, progress: Progress) -> str | None:
    """What an error says to a user; None where neither network nor data is to blame."""
    if isinstance(error, (NoAnswerError, CodingError, RedirectError)):
        return str(error)
    if not isinstance(error, _NETWORK):
        return None
    causes = _causes(error)
    for kinds, words in _WORDS:
        for cause in causes:
            if isinstance(cause, kinds):
                return _fill(words, cause, causes, progress)
    if any(isinstance(cause, TimeoutError) and not cause.errno for cause in causes):
        return timed_out(progress.timeout)
    for cause in causes:
        if isinstance(cause, OSError) and cause.strerror:
            return _fill("could not connect to {origin}: {reason}", cause, causes, progress)
    first = causes[0]
    if isinstance(first, urllib3.exceptions.ProtocolError):
        return _fill(_CLOSED, first, causes, progress)
    # Bare ones are about files and proxies, and say which.
    return str(first) if type(first) is OSError else f"the call failed ({type(first).__name__})"


def _causes(error: BaseException) -> list[BaseException]:
    """An exception and those that it came from, the first cause first."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.insert(0, cause)
        hidden = cause.__suppress_context__
        cause = cause.__cause__ or (None if hidden else cause.__context__)
    return found


def _fill(
    words: str, cause: BaseException, causes: Sequence[BaseException], progress: Progress
) -> str:
    origin, host = progress.label, "of the server"
    with suppress(ValueError):
        parts = urlsplit(progress.url)
        place = parts.netloc.rpartition("@")[2]
        # As written, so that a secret in it is recognised.
        name = re.sub(r":\d*\Z", "", place).strip("[]")
        origin, host = f"{parts.scheme}://{place}", f"'{name}'"
    if any(isinstance(cause, urllib3.exceptions.ProxyError) for cause in causes):
        origin, host = f"the proxy for {origin}", "of the proxy"
    target = f"'{progress.label}'"
    if words is _NOT_A_URL and progress.answering:
        words = _NOT_HTTP  # what can't be read is in the answer, such as a chunk of -5 bytes
    return words.format(
        error=cause,
        target=f"what {target} redirects to" if progress.redirected else target,
        origin=origin,
        host=host,
        moment="in the middle of the answer" if progress.answering else "before answering",
        reason=_reason(cause),
    )


def _reason(cause: BaseException) -> str:
    if isinstance(cause, ssl.SSLError) and cause.reason:
        if cause.reason in _NOT_TLS:
            return "the server does not speak TLS at this port; did you mean http://?"
        return cause.reason.replace("_", " ").lower()
    reason = getattr(cause, "strerror", None) or type(cause).__name__
    return str(reason[0].lower() + reason[1:])
