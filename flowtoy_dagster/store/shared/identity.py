"""The identity of what machines share: a random number in it, the same for all that see it."""

from __future__ import annotations

import uuid
from pathlib import Path

from flowtoy_dagster.store.shared.shared_files import shared_store
from flowtoy_dagster.store.store import Store

IDENTITY_FOLDER = "flowtoy-identity"
_KEY = "id"


def identity_of_files(home: str | Path) -> str:
    """The identity of the shared files of a home, or of the home alone; made at the first call.

    Raises:
        OSError: they can't be read or written, or do not answer.
    """
    store = shared_store(home, IDENTITY_FOLDER)
    known = _read(store)
    if not known:
        with store.lock(_KEY, alone=True):
            known = _read(store)
            if not known:
                known = uuid.uuid4().hex
                store.put(_KEY, known.encode())
    return known


def known_identity_of_files(home: str | Path) -> str:
    """The same; empty where nobody has made it yet. Writes nothing.

    Raises:
        OSError: they can't be read, or do not answer.
    """
    return _read(shared_store(home, IDENTITY_FOLDER))


def _read(store: Store) -> str:
    try:
        return store.read(_KEY).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return ""
