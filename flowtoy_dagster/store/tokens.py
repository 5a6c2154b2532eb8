"""The tokens by which sources call, shared by all that use a home, or its shared files
(language 21.5).

Each token is a piece of a store and has a lock of its own. Its name is a hash of the facts that
decide which token it is, with a key that is kept next to the tokens, so that a name says nothing
about the secrets among the facts. No name has a full stop: see `records._quoted`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

from flowtoy_dagster.json_text import dumps_checked, loads_checked
from flowtoy_dagster.store.shared.shared_files import shared_store
from flowtoy_dagster.store.store import Store

TOKENS_FOLDER = "flowtoy-tokens"
_KEY = "key"
_KEY_BYTES = 32
_PREFIX = "token-"
OLD = 30 * 86400.0
"""Seconds after which a token that has ended is removed."""
REMEMBERED = 30.0
"""Seconds for which a token from a store elsewhere is not read again; one that a server does not
take any more is."""


class TokenStore:
    """The tokens of sources (`providers.base.TokenKeeper`).

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key: bytes | None = None
        self._seen: dict[str, tuple[float, dict[str, Any]]] = {}

    def read(self, facts: bytes) -> dict[str, Any] | None:
        """What is kept of a token, without a lock; None where there is nothing of use."""
        try:
            key = self._known_key()
            return None if key is None else self._read(_name(key, facts))
        except OSError:
            return None  # a request for a new one reports why

    @contextlib.contextmanager
    def held(self, facts: bytes) -> Iterator[_HeldToken]:
        """Wait for the lock of a token, and hold it while a block runs.

        Raises:
            OSError: the store can't be written, or does not answer.
        """
        name = _name(self._known_key() or self._new_key(), facts)
        with self._store.lock(name, alone=True):
            self._seen.pop(name, None)
            yield _HeldToken(self._store, name)

    def _read(self, name: str) -> dict[str, Any] | None:
        now = time.monotonic()
        seen_at, seen = self._seen.get(name, (0.0, None))
        if seen is not None and now - seen_at < REMEMBERED:
            return seen
        found = _read(self._store, name)
        if found is not None and self._store.kept_at(name) is not None:
            self._seen[name] = now, found
        return found

    def _known_key(self) -> bytes | None:
        if self._key is None:
            with contextlib.suppress(FileNotFoundError):
                found = self._store.read(_KEY)
                self._key = found if len(found) == _KEY_BYTES else None
        return self._key

    def _new_key(self) -> bytes:
        with self._store.lock(_KEY, alone=True):
            known = self._known_key()
            if known is None:
                made = secrets.token_bytes(_KEY_BYTES)
                self._store.put(_KEY, made)
                known = self._key = made
        return known


class _HeldToken:
    """One token, for who holds its lock."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name

    def read(self) -> dict[str, Any] | None:
        """What was written last; None where there is nothing that can be used.

        Raises:
            OSError: the store does not answer.
        """
        return _read(self._store, self._name)

    def write(self, value: Mapping[str, Any]) -> None:
        """Keep this instead: whole and durable, or not at all.

        Raises:
            OSError: it can't be written.
        """
        is_new = not self._store.exists(self._name)
        self._store.put(self._name, dumps_checked(dict(value)))
        if is_new:
            _remove_old(self._store, time.time())


def _name(key: bytes, facts: bytes) -> str:
    return f"{_PREFIX}{hmac.new(key, facts, hashlib.sha256).hexdigest()[:32]}"


def _read(store: Store, name: str) -> dict[str, Any] | None:
    try:
        found = loads_checked(store.read(name))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _remove_old(store: Store, now: float) -> None:
    """Remove tokens that ended long ago; a refresh token is kept: nobody can get it again."""
    for name in list(store.list()):
        if not name.startswith(_PREFIX):
            continue
        with contextlib.suppress(OSError):
            kept = _read(store, name)
            if kept is None or kept.get("refresh_token"):
                continue
            moments = [kept.get(fact) for fact in ("got_at", "asked_at", "expires_at")]
            if all(at <= now - OLD for at in moments if isinstance(at, (int, float))):
                store.delete(name)


def tokens_of(root_directory: str) -> TokenStore:
    """The tokens that belong to the home of a Dagster instance."""
    return TokenStore(shared_store(root_directory, TOKENS_FOLDER))
