"""One request with what shows who calls, repeated where that was not valid any more."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from flowtoy_dagster.masking.mask import Mask, secret_values_in
from flowtoy_dagster.providers.base import CallContext, ProviderResult
from flowtoy_dagster.providers.rest.auth.base import Auth, Credentials
from flowtoy_dagster.providers.rest.auth.tokens import TokenCall, TokenError, TokenSource
from flowtoy_dagster.providers.rest.content import Answer, Call, CookieKeeper, split_user
from flowtoy_dagster.providers.rest.urls import cut, join, shown

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
_TOKEN_BYTES = 1 << 20
"""The most that the answer with a token may have."""


class Settings(Protocol):
    """What all requests of a source have in common."""

    @property
    def base_url(self) -> str | None:
        """What URLs may be relative to."""

    @property
    def timeout(self) -> float:
        """Seconds for one request."""

    @property
    def verify(self) -> bool | str:
        """Whether to check certificates, or the file of those to trust."""

    @property
    def proxy(self) -> str | bool | None:
        """The URL of the proxy; false for none; None for that of the environment."""

    @property
    def cert(self) -> str | tuple[str, str] | None:
        """The client's certificate, or that and its key."""


def token_source(
    settings: Settings, context: CallContext | None, cookies: CookieKeeper | None
) -> TokenSource:
    """What gives the tokens of a source; requests for them obey its settings."""
    return TokenSource(
        lambda asked: _fetch_token(asked, settings, context, cookies), settings.base_url, context
    )


def _fetch_token(
    asked: TokenCall, settings: Settings, context: CallContext | None, cookies: CookieKeeper | None
) -> Answer:
    """The answer to a request for a token, whatever its status; raises TokenError."""
    from flowtoy_dagster.providers.rest.network.errors import TIMED_OUT, NoAnswerError
    from flowtoy_dagster.providers.rest.network.transport import fetch

    hide = context.mask.text if context else str
    url, of_url = without_credentials(join(settings.base_url, asked.url), context)
    call = Call(
        method=asked.method,
        url=url,
        label=cut(shown(url, hide)),
        params=asked.params,
        headers=asked.headers,
        body=asked.body,
        authorization=asked.basic or of_url,
        timeout=settings.timeout,
        verify=settings.verify,
        cert=settings.cert,
        # It holds secrets, and the answer is one: both are for the URL that the flow names.
        allow_redirects=False,
        max_bytes=_TOKEN_BYTES,
        proxy=settings.proxy,
        cookies=cookies,
        trace=trace_headers(),
    )
    try:
        return fetch(call, hide)
    except NoAnswerError as error:
        kind = "timeout" if str(error).startswith(TIMED_OUT) else "connection"
        raise TokenError(f"no token from '{call.label}': {error}", failure=kind) from None


def trace_headers() -> dict[str, str]:
    """The trace that the environment says this process is a part of (W3C Trace Context)."""
    parent = os.environ.get("TRACEPARENT", "").strip().lower()
    if not _TRACEPARENT.fullmatch(parent):
        return {}
    state = os.environ.get("TRACESTATE", "").strip()
    more = {"tracestate": state} if state and state.isascii() and state.isprintable() else {}
    return {"traceparent": parent, **more}


def without_credentials(url: str, context: CallContext | None) -> tuple[str, str | None]:
    """What `split_user` gives; the step knows from now on that the password is secret.

    A secret in the host is one in small letters too, as it is sent.
    """
    url, header = split_user(url)
    if context is not None:
        host = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
        in_host = {host.lower()} if context.mask.text(host) != host else set()
        context.mask.learn({*in_host, *secret_values_in({"authorization": header})})
    return url, header


class Turn:
    """The attempt, whose deadline is another one when a request has waited for its turn."""

    def __init__(self, context: CallContext | None) -> None:
        self.context = context

    def take_next(self, last: Answer) -> None:
        """Wait until the request may be sent again."""
        if self.context is not None and self.context.parts is not None:
            meta = {"status_code": last.status, "headers": last.headers}
            result = ProviderResult(False, last.status, meta=meta)
            self.context = self.context.parts.next_turn(result)

    def text(self, text: str) -> str:
        """A text without the step's secrets."""
        return self.context.mask.text(text) if self.context is not None else text


class Exchange:
    """Makes one request as an `auth` wants it.

    Args:
        auth: the credentials of the call; None for none.
        tokens: gives the source's token.
        call: the request with credentials.
        hide: hides what is secret.
    """

    def __init__(
        self,
        auth: Auth | None,
        tokens: TokenSource,
        call: Callable[[Credentials], Call],
        hide: Callable[[str], str],
    ) -> None:
        self._auth = auth
        self._tokens = tokens
        self._call = call
        self._hide = hide
        self.credentials = Credentials()

    def _warn(self, message: str) -> None:
        self._tokens.warn(message, "url")

    def answer(
        self, is_wanted: Callable[[int], bool], before_next: Callable[[Answer], None]
    ) -> Answer:
        """The answer that counts.

        Args:
            is_wanted: whether a status is one that the author expects.
            before_next: waits until the request may be sent again.

        Raises:
            NoAnswerError: none came.
            TokenError: there is no token to call with.
            UnsendableError: a credential can't be sent.
        """
        from flowtoy_dagster.providers.rest.network.transport import fetch

        if self._auth is None:
            return fetch(self._call(self.credentials), self._hide, self._warn)
        flow = self._auth.flow(self._tokens)
        self.credentials = next(flow)
        while True:
            call = self._call(self.credentials)
            answer = fetch(call, self.credentials.hiding(self._hide), self._warn)
            # Another host got no credentials, so it is not them that it does not take.
            if is_wanted(answer.status) or answer.is_elsewhere:
                return answer
            try:
                self.credentials = flow.send(answer)
            except StopIteration:
                return answer
            before_next(answer)


def without_tokens(
    result: ProviderResult, tokens: tuple[str, ...], body: bytes | bytearray
) -> ProviderResult:
    """A result in which no token is, should a server have sent one back.

    Args:
        result: what came.
        tokens: what it was called with.
        body: of the answer, in which they are looked for.
    """
    if not tokens:
        return result
    mask = Mask(tokens)
    meta = {**result.meta, **mask.data({k: v for k, v in result.meta.items() if k in _SAID})}
    data = result.data
    if any(_kernel(token) in body for token in tokens):
        data = mask.data(data)
    return replace(result, data=data, meta=meta)


_SAID = ("headers", "url")


def _kernel(token: str) -> bytes:
    """The longest part of a token that no way of writing changes."""
    parts = "".join(c if c.isascii() and c.isalnum() else " " for c in token).split()
    return max(parts, key=len, default=token).encode()


def token_failure(error: TokenError) -> tuple[str, int | None, Mapping[str, object]]:
    """The note, the code and the facts of a call that had no token; nothing was sent."""
    meta: dict[str, object] = {"failure": error.failure, "sent": False}
    code = None
    if error.answer is not None:
        code = error.answer.status
        meta |= {"status_code": code, "headers": error.answer.headers}
    if error.is_final:
        meta["retryable"] = False
    return str(error), code, meta
