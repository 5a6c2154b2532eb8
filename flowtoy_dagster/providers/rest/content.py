"""What a rest call sends and what comes back: payloads, answers, the data in them."""

from __future__ import annotations

import base64
import codecs
import email.message
import functools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_to_bytes

from flowtoy_dagster.flow.templates.render import text, to_json
from flowtoy_dagster.json_text import JsonError, loads
from flowtoy_dagster.providers.base import CallContext, first_part

if TYPE_CHECKING:
    import requests

Signer = Callable[["requests.PreparedRequest"], "requests.PreparedRequest"]
"""Adds to a request what shows who calls: an auth object of requests."""



class Streamable(Protocol):
    """A body that is read while it is sent."""

    def stream(self) -> Any:
        """It from its beginning, as requests takes it."""


class CookieKeeper(Protocol):
    """Keeps the cookies that answers set."""

    def add_to(self, request: requests.PreparedRequest) -> None:
        """Add those that are meant for a request."""

    def take_from(self, request: requests.PreparedRequest, response: requests.Response) -> None:
        """Keep those that an answer sets."""


_SHOWN_BODY = 200
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SPACE = "\ufeff \t\r\n"
_RECORDS = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines",
     "application/x-jsonlines", "application/json-seq", "text/csv"}
)
"""Types whose body is text even where it happens to be one JSON object or array."""


@dataclass(frozen=True)
class BodyTo:
    """Where the body of a success goes.

    Attributes:
        statuses: which statuses are one.
        take: takes a piece.
        is_kept: whether the answer must hold the body, too.
    """

    statuses: Collection[int]
    take: Callable[[bytes], None]
    is_kept: bool


@dataclass(frozen=True)
class Call:
    """One HTTP call.

    Attributes:
        label: the URL as a note may show it.
        params: pairs to add to the query.
        headers: null leaves out one that every call has.
        authorization: the header's value.
        timeout: seconds for all of it, from looking up the name to the last byte.
        verify: whether to check certificates, or the file of those to trust.
        cert: the client's certificate, or that and its key.
        max_bytes: the most that the body may have, after decompression; None is any size.
        sign: changes each request to the host that the flow names, before it is sent.
        proxy: the URL of the proxy; false for none; None for that of the environment.
        cookies: keeps those that answers set.
        trace: headers that say what trace the call is a part of, unless it has its own.
        body_to: takes the body as it comes, in place of the answer; None where nothing does.
    """

    method: str
    url: str
    label: str
    params: Sequence[tuple[str, str]]
    headers: Mapping[str, str | None]
    body: bytes | Streamable | None
    authorization: str | None
    timeout: float
    verify: bool | str
    cert: str | tuple[str, str] | None
    allow_redirects: bool
    max_bytes: int | None
    sign: Signer | None = None
    proxy: str | bool | None = None
    cookies: CookieKeeper | None = None
    trace: Mapping[str, str] = field(default_factory=dict)
    body_to: BodyTo | None = None


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Attributes:
        url: where the answer came from, after redirects.
        elapsed: seconds.
        is_elsewhere: whether another host than that of the call gave it.
    """

    status: int
    headers: dict[str, str]
    url: str
    elapsed: float
    body: bytes | bytearray
    is_elsewhere: bool = False

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case."""
        return self._content_type[0]

    @property
    def charset(self) -> str:
        """The header's charset, or UTF-8; never guessed from the body."""
        return self._content_type[1]

    @functools.cached_property
    def _content_type(self) -> tuple[str, str]:
        found = (v for k, v in self.headers.items() if k.lower() == "content-type")
        return _content_type(next(found, "application/octet-stream"))

    @functools.cached_property
    def text(self) -> str:
        """The body as its charset has it; what is not valid in that, replaced by U+FFFD."""
        try:
            return self.body.decode(self.charset, "replace")
        except (LookupError, ValueError):  # a codec of Python that makes no text
            return self.body.decode("utf-8", "replace")

    def exact(self) -> bytes | str:
        """The body for a reader of JSON; raises JsonError where that would lose characters."""
        if self.charset == "utf-8":
            return bytes(self.body)
        try:
            return self.body.decode(self.charset)
        except (LookupError, ValueError):
            raise JsonError(f"it is not text in the charset '{self.charset}'") from None


@functools.lru_cache(maxsize=64)
def _content_type(header: str) -> tuple[str, str]:
    """The media type and the charset that a header names."""
    message = email.message.Message()
    message["Content-Type"] = header
    charset = "utf-8"
    with suppress(LookupError, ValueError):
        charset = codecs.lookup(message.get_content_charset("utf-8")).name
    return message.get_content_type(), charset


class UnsendableError(Exception):
    """A request can't be sent as it is; names the key, never its value.

    Args:
        words: why.
        sent: whether a part of it may have reached a server.
    """

    def __init__(self, words: str, *, sent: bool = False) -> None:
        super().__init__(words)
        self.sent = sent


def headers_of_any_case(written: Mapping[str, str | None]) -> dict[str, str | None]:
    """Headers by name, whose case doesn't matter: the last one counts.

    Raises:
        UnsendableError: HTTP allows no such header.
    """
    headers: dict[str, tuple[str, str | None]] = {}
    for name, value in written.items():
        if not _TOKEN.fullmatch(name):
            raise UnsendableError(f"{name!r} is not a name that a header can have")
        if value is not None and (found := _CONTROL.search(value)):
            raise UnsendableError(f"the header '{name}' holds {_what(found)}")
        headers[name.lower()] = (name, None if value is None else value.strip(" \t"))
    return dict(headers.values())


def credential(key: str, value: str) -> str:
    """A user, password or token without the line break at its end, which is never a part of it.

    Raises:
        UnsendableError: it holds what no credential can.
    """
    value = value.removesuffix("\n").removesuffix("\r")
    if found := _CONTROL.search(value):
        raise UnsendableError(f"'{key}' holds {_what(found)}")
    return value


def _what(found: re.Match[str]) -> str:
    return "a line break" if found[0] in "\r\n" else "a control character"


def split_user(url: str) -> tuple[str, str | None]:
    """A URL without its user and password, and these as the value of an Authorization header."""
    found = re.match(r"([a-z][a-z0-9+.-]*://)([^/?#]*)@", url, re.IGNORECASE)
    if found is None:
        return url, None
    user, _, password = found[2].partition(":")
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    header = f"Basic {base64.b64encode(pair).decode()}" if pair != b":" else None
    return found[1] + url[found.end() :], header


def payload_pairs(payload: Any, name: str) -> list[tuple[str, str]]:
    """A payload as pairs of a query: a mapping's own names, or `name` for anything else."""
    if isinstance(payload, Mapping):
        return [(str(key), text(value)) for key, value in payload.items() if value is not None]
    values = payload if isinstance(payload, list) else [payload]
    return [(name, text(value)) for value in values if value is not None]


def payload_body(payload: Any) -> bytes:
    """A payload as a JSON body; text that is a JSON object or array is one already."""
    if isinstance(payload, str) and payload.lstrip()[:1] in ("{", "["):
        with suppress(JsonError):
            loads(payload)
            return payload.encode()
    return to_json(payload).encode()


def answer_data(answer: Answer) -> Any:
    """The JSON of a body that is, or looks like, JSON; otherwise its text.

    Raises:
        JsonError: it is said to be JSON, but is not.
    """
    media_type = answer.media_type
    if media_type == "application/json" or media_type.endswith("+json"):
        return loads(answer.exact()) if answer.body.strip() else None
    if media_type not in _RECORDS and answer.text.lstrip(_SPACE)[:1] in ("{", "["):
        with suppress(JsonError):
            return loads(answer.exact())
    return answer.text


def status_note(status: int, body: str, context: CallContext | None = None) -> str:
    """The note on a status that is not a success, with the first part of the body in one line.

    Args:
        status: the status.
        body: the body.
        context: knows the secrets that the body may hold.
    """
    # A few more than are shown, as white space shrinks.
    line = " ".join(first_part(body, _SHOWN_BODY * 10, context).split())
    shown = "".join(c if c.isprintable() else "\ufffd" for c in line[:_SHOWN_BODY])
    return f"HTTP status {status}" + (f": {shown}" if shown else "")
