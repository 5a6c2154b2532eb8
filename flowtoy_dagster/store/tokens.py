"""The tokens by which sources call, shared by all processes that use a home (language 21.5).

Each token has a file with what is known of it and a file for its lock; both are for their owner
alone. A file's name is a hash of the facts that decide which token it is, with a key of the home's
own, so that a name tells nothing of the secrets among the facts. No name has a full stop: see
`records._quoted`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flowtoy_dagster.json_text import dumps_checked, loads_checked
from flowtoy_dagster.store.files import locked_file, make_private_folder, write_whole

TOKENS_FOLDER = "flowtoy-tokens"
_KEY = "key"
_KEY_BYTES = 32
OLD = 30 * 86400.0
"""Seconds after which a token that has ended is removed."""


class TokenStore:
    """The tokens of the sources of a home (`providers.base.TokenKeeper`).

    Args:
        folder: where the files are; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key: bytes | None = None

    def read(self, facts: bytes) -> dict[str, Any] | None:
        """What is kept of a token, without a lock; None where there is nothing of use."""
        key = self._known_key()
        return None if key is None else _TokenFile(self._folder / _name(key, facts)).read()

    @contextlib.contextmanager
    def held(self, facts: bytes) -> Iterator[_TokenFile]:
        """Wait for the lock of a token, and hold it while a block runs.

        Raises:
            OSError: the home can't be written.
        """
        make_private_folder(self._folder)
        name = _name(self._known_key() or self._new_key(), facts)
        with locked_file(self._folder / f"{name}-lock", alone=True):
            yield _TokenFile(self._folder / name)

    def _known_key(self) -> bytes | None:
        if self._key is None:
            with contextlib.suppress(OSError):
                found = (self._folder / _KEY).read_bytes()
                self._key = found if len(found) == _KEY_BYTES else None
        return self._key

    def _new_key(self) -> bytes:
        with locked_file(self._folder / f"{_KEY}-lock", alone=True):
            known = self._known_key()
            if known is None:
                known = self._key = secrets.token_bytes(_KEY_BYTES)
                write_whole(self._folder / _KEY, known)
        return known


def _name(key: bytes, facts: bytes) -> str:
    return f"token-{hmac.new(key, facts, hashlib.sha256).hexdigest()[:32]}"


class _TokenFile:
    """The file of one token."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Any] | None:
        """What was written last; None where there is nothing that can be used."""
        try:
            found = loads_checked(self._path.read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def write(self, value: Mapping[str, Any]) -> None:
        """Keep this instead, whole and durable or not at all; raises OSError."""
        is_new = not self._path.exists()
        write_whole(self._path, dumps_checked(dict(value)))
        if is_new:
            _remove_old(self._path.parent, time.time())


def _remove_old(folder: Path, now: float) -> None:
    """Remove tokens that ended long ago; a refresh token is kept: nobody can get it again."""
    for path in folder.glob("token-*"):
        with contextlib.suppress(OSError):
            if path.name.endswith("-lock") or path.stat().st_mtime > now - OLD:
                continue
            held = _TokenFile(path).read() or {}
            ends = held.get("expires_at")
            if not held.get("refresh_token") and not (
                isinstance(ends, (int, float)) and ends > now - OLD
            ):
                path.unlink()
                path.with_name(f"{path.name}-lock").unlink(missing_ok=True)


def tokens_of(root_directory: str) -> TokenStore:
    """The tokens that belong to the home of a Dagster instance."""
    return TokenStore(Path(root_directory) / TOKENS_FOLDER)
