"""The token of a source: kept, asked for, renewed before its end (language 21.5)."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowtoy_dagster.errors import system_reason
from flowtoy_dagster.providers.base import CallContext, HeldToken, TokenKeeper
from flowtoy_dagster.providers.rest.content import Answer

logger = logging.getLogger("flowtoy.rest")

MARGIN = 60.0
"""Seconds before its end in which a token is renewed; at most half of its life."""
_SLICE = 0.5
"""Seconds after which a call that waits for a token looks about."""
_ASKED = "asked_at"


class TokenError(Exception):
    """There is no token; says why.

    Args:
        words: why.
        answer: what the token endpoint answered, if it did.
        failure: by which name `retry.on` knows it.
        is_final: whether another attempt can't help.
    """

    def __init__(
        self, words: str, answer: Answer | None = None, failure: str = "token",
        *, is_final: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(words)
        self.answer = answer
        self.failure = failure
        self.is_final = is_final


@dataclass(frozen=True)
class Token:
    """A token by which a source calls; times are in seconds since 1970.

    Attributes:
        value: what is sent.
        got_at: when it was asked for.
        expires_at: its end; None where it is unknown, until a 401.
        refresh: what the next one is asked for with, where the server gave one.
        variant: what it was asked for, besides the facts that name it.
    """

    value: str
    got_at: float
    expires_at: float | None = None
    refresh: str | None = None
    variant: str = ""

    def is_good(self, now: float) -> bool:
        """Whether it can be sent: not near its end, and not of a time to come."""
        if now < self.got_at:  # the clock was set back
            return False
        if self.expires_at is None:
            return True
        return now < self.expires_at - min(MARGIN, (self.expires_at - self.got_at) / 2)

    def seconds_left(self, now: float) -> float:
        """Seconds for which a server takes it still, 0 or less where it does not."""
        if now < self.got_at or self.expires_at is None:
            return 0.0
        return self.expires_at - now

    def facts(self) -> dict[str, Any]:
        """It as a mapping that JSON can hold."""
        return {"access_token": self.value, "got_at": self.got_at, "expires_at": self.expires_at,
                "refresh_token": self.refresh, "variant": self.variant}

    @classmethod
    def of(cls, facts: Mapping[str, Any] | None) -> Token | None:
        """The token in what was kept; None where there is none."""
        if facts is None or not isinstance(facts.get("access_token"), str):
            return None
        ends, got = facts.get("expires_at"), facts.get("got_at")
        if not isinstance(got, (int, float)) or not isinstance(ends, (int, float, type(None))):
            return None
        refresh = facts.get("refresh_token")
        return cls(facts["access_token"], got, ends, refresh, str(facts.get("variant") or ""))


@dataclass(frozen=True)
class TokenCall:
    """The request that asks for a token.

    Attributes:
        basic: user and password.
    """

    url: str
    method: str = "POST"
    headers: Mapping[str, str | None] = field(default_factory=dict)
    params: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    basic: str | None = None


class Grant(Protocol):
    """How a token is asked for."""

    def facts(self, base_url: str | None) -> bytes:
        """What decides which token it is, secrets included."""

    @property
    def variant(self) -> str:
        """What else it is asked for; a token of another one is not used."""

    @property
    def is_rotated(self) -> bool:
        """Whether what a token is asked for with may change each time, and would be lost."""

    def call(self, base_url: str | None, refresh: str | None) -> TokenCall:
        """The request; raises UnsendableError.

        Args:
            base_url: what its URL may be relative to.
            refresh: the latest refresh token, where one was kept.
        """

    def token(self, answer: Answer, got_at: float, tokens: TokenSource, is_known: bool) -> Token:
        """The token in an answer; raises TokenError.

        Args:
            answer: what came.
            got_at: when it was asked for.
            tokens: learns what is secret.
            is_known: whether it was asked for with a refresh token that was kept.
        """


class TokenSource:
    """Gives the tokens by which one call is made.

    Args:
        send: sends a request for a token; raises TokenError.
        base_url: what the URLs of these requests may be relative to.
        context: the attempt; without one, each call asks for a token of its own.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        send: Callable[[TokenCall], Answer],
        base_url: str | None,
        context: CallContext | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._send = send
        self._base_url = base_url
        self._context = context
        self._clock = clock
        kept = context.tokens if context is not None else None
        self._keeper: TokenKeeper = kept or _Unkept()

    def hide(self, text: str) -> str:
        """A text without secrets."""
        return self._context.mask.text(text) if self._context is not None else text

    def warn(self, message: str, key: str = "auth") -> None:
        """Warn of something about a key of the source."""
        if self._context is not None:
            self._context.warn(message, key)
        else:
            logger.warning("%s", message)

    def learn(self, values: Iterable[str]) -> None:
        """Hide these from now on; no record keeps them."""
        if self._context is not None:
            self._context.mask.learn(values, keep=False)

    def current(self, grant: Grant, rejected: str | None = None) -> Token:
        """The token to call with: the one that is kept, or a new one.

        Args:
            grant: how it is asked for.
            rejected: one that a server does not take any more.

        Raises:
            TokenError: there is none.
        """
        kept = self._usable(self._keeper.read(grant.facts(self._base_url)), grant, rejected)
        if kept is not None:
            return kept
        renewal = _Renewal(lambda: self._renewed(grant, rejected))
        renewal.start()
        return renewal.result(self._context)

    def _usable(
        self, facts: Mapping[str, Any] | None, grant: Grant, rejected: str | None
    ) -> Token | None:
        kept = Token.of(facts)
        if kept is None:
            return None
        self.learn([kept.value, *filter(None, [kept.refresh])])
        is_other = kept.variant != grant.variant or kept.value == rejected
        return None if is_other or not kept.is_good(self._clock()) else kept

    def _not_ended(
        self, facts: Mapping[str, Any] | None, grant: Grant, rejected: str | None, error: TokenError
    ) -> Token | None:
        """The token that was to be renewed before its end, where that failed and it is valid."""
        old = Token.of(facts)
        if old is None or old.variant != grant.variant or old.value == rejected:
            return None
        left = old.seconds_left(self._clock())
        if left <= 0:
            return None
        reason = " ".join(self.hide(str(error)).split())
        self.warn(f"the token can't be renewed; it is valid for {left:.0f} s more: {reason}")
        return old

    def _renewed(self, grant: Grant, rejected: str | None) -> Token:
        """A new token, unless another thread or process has asked for one meanwhile."""
        with self._held(grant) as held:
            facts = _read(held, grant)
            kept = self._usable(facts, grant, rejected)
            if kept is not None:
                return kept
            known = (facts or {}).get("refresh_token")
            refresh = known if isinstance(known, str) and grant.is_rotated else None
            call = grant.call(self._base_url, refresh)
            now = self._clock()
            if grant.is_rotated:
                # What can't be kept must not be asked for: the server forgets the one before.
                with _keeping():
                    held.write({**(facts or {}), _ASKED: now})
            try:
                answer = self._send(call)
                token = grant.token(answer, now, self, refresh is not None)
            except TokenError as error:
                if (old := self._not_ended(facts, grant, rejected, error)) is None:
                    raise
                return old
            try:
                held.write(token.facts())
            except OSError as error:
                self.warn(_not_kept(error, is_lost=grant.is_rotated))
            return token

    @contextlib.contextmanager
    def _held(self, grant: Grant) -> Iterator[HeldToken]:
        with contextlib.ExitStack() as stack:
            try:
                held = stack.enter_context(self._keeper.held(grant.facts(self._base_url)))
            except OSError as error:
                if grant.is_rotated:
                    raise _unkept(error) from None
                self.warn(_not_kept(error))
                held = _Nothing()
            yield held


class _Renewal(threading.Thread):
    """Asks for a token in a thread of its own.

    A step that is ended leaves it, and it ends by itself: an answer with a new refresh token is
    kept in any case.
    """

    def __init__(self, renew: Callable[[], Token]) -> None:
        super().__init__(name="flowtoy-token", daemon=True)
        self._renew = renew
        self._done = threading.Event()
        self._token: Token | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            self._token = self._renew()
        except Exception as error:  # noqa: BLE001 - the caller's thread raises it
            self._error = error
        finally:
            self._done.set()

    def result(self, context: CallContext | None) -> Token:
        """What it came to; raises TokenError where the step has ended before."""
        began = time.monotonic()
        while not self._done.wait(_SLICE):
            if context is None:
                continue
            if context.cancelled.is_set():
                raise TokenError("ended while it waited for a token")
            if context.deadline is not None and time.monotonic() >= context.deadline:
                waited = time.monotonic() - began
                words = f"timed out after {waited:.3g} s in which it waited for a token"
                raise TokenError(words, failure="timeout")
        if self._error is not None:
            raise self._error
        assert self._token is not None
        return self._token


class _Nothing:
    """Keeps nothing."""

    def read(self) -> None:
        return None

    def write(self, value: Mapping[str, Any]) -> None:
        pass


class _Unkept:
    """Keeps no token: each call asks for one."""

    def read(self, facts: bytes) -> None:
        return None

    def held(self, facts: bytes) -> AbstractContextManager[HeldToken]:
        return contextlib.nullcontext(_Nothing())


def _reason(error: OSError) -> str:
    return system_reason(error)


def _read(held: HeldToken, grant: Grant) -> Mapping[str, Any] | None:
    try:
        return held.read()
    except OSError as error:
        if grant.is_rotated:
            # A newer refresh token may be kept there: the server takes the older one for stolen.
            raise TokenError(f"the kept refresh token can't be read: {_reason(error)}") from None
        return None


def _unkept(error: OSError) -> TokenError:
    return TokenError(
        f"no token was requested: a new refresh token could not be kept in the home "
        f"({_reason(error)}), and the server may accept the old one only once"
    )


def _not_kept(error: OSError, *, is_lost: bool = False) -> str:
    follows = "the new refresh token is lost" if is_lost else "each call requests its own"
    return f"the token can't be kept in the home ({_reason(error)}): {follows}"


@contextlib.contextmanager
def _keeping() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unkept(error) from None
