"""Cursor values of steps with `incremental`: one small piece for each, in the home (language 22).

A value is replaced only by a process that knows the current version. What is read is verified: a
damaged piece is an error, never a step that begins from the start again.
"""

from __future__ import annotations

import hashlib
import time
import urllib.parse
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from flowtoy_dagster.errors import StepError, system_reason
from flowtoy_dagster.json_text import dumps, loads_checked
from flowtoy_dagster.steps.state.cursors import NEVER_STORED, StoredCursor
from flowtoy_dagster.store.shared.shared_files import shared_store
from flowtoy_dagster.store.store import Store, quoted

CURSORS_FOLDER = "flowtoy-state"
_ONE = "state"
_KEYED = "keys"
_HASH = 64


class DamagedCursorError(StepError):
    """What is stored of a cursor can't be read; the text says how to repair it.

    Attributes:
        reason: why it can't be read.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class DamagedCursor:
    """A stored cursor that can't be read.

    Attributes:
        place: where it is, below the folder of all.
        reason: why it can't be read.
        flow: the flow's name; None where it is not known, as for the next two.
        step: the step's name.
        key: identifies one of several values of a step.
    """

    place: str
    reason: str
    flow: str | None = None
    step: str | None = None
    key: str | None = None


class CursorStore(ABC):
    """The stored cursors of all flows."""

    @abstractmethod
    def read(self, flow: str, step: str, key: str = "") -> StoredCursor | None:
        """What is stored; None where nothing ever was.

        Raises:
            DamagedCursorError: it can't be read.
        """

    @abstractmethod
    def swap(self, new: StoredCursor, expected: str | None) -> StoredCursor | None:
        """Store a value, if what is stored has the expected version.

        Args:
            new: what to store; its version and its time are set here.
            expected: the version; None to store it whatever is there, also what is damaged.

        Returns:
            None where it was stored; else what is there instead.

        Raises:
            DamagedCursorError: what is there can't be read.
            OSError: it can't be written.
        """

    @abstractmethod
    def all(self, flow: str | None = None) -> Iterator[StoredCursor | DamagedCursor]:
        """All that is stored, or all of a flow, by flow, step and key."""

    @abstractmethod
    def clean(self) -> int:
        """Remove what writers that were killed left behind; how many pieces that were."""


class FolderCursors(CursorStore):
    """Cursors in a store of pieces.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, flow: str, step: str, key: str = "") -> StoredCursor | None:  # noqa: D102
        place = _place(flow, step, key)
        try:
            found = self._read(place)
        except DamagedCursorError as error:
            raise _damaged(flow, step, key, error.reason) from None
        if found is None:
            return None
        if (found.flow, found.step, found.key) != (flow, step, key):
            raise _damaged(flow, step, key, f"it is that of step '{found.step}' of '{found.flow}'")
        return found

    def swap(self, new: StoredCursor, expected: str | None) -> StoredCursor | None:  # noqa: D102
        with self._store.lock(alone=True):
            if expected is not None:
                current = self.read(new.flow, new.step, new.key)
                if (current.version if current is not None else NEVER_STORED) != expected:
                    return current or replace(new, value=None, version=NEVER_STORED, run_id=None)
            written = replace(new, version=uuid.uuid4().hex, stored_at=time.time())
            body = dumps(asdict(written))
            digest = hashlib.sha256(body).hexdigest().encode()
            self._store.put(_place(new.flow, new.step, new.key), b"%s\n%s\n" % (body, digest))
        return None

    def all(  # noqa: D102
        self, flow: str | None = None
    ) -> Iterator[StoredCursor | DamagedCursor]:
        prefix = quoted(flow) if flow is not None else None
        for place in sorted(self._store.list(prefix)):
            try:
                found = self._read(place)
            except DamagedCursorError as error:
                yield DamagedCursor(place, error.reason, *_names(place))
                continue
            if found is not None:
                yield found

    def clean(self) -> int:  # noqa: D102
        return self._store.clean()

    def _read(self, place: str) -> StoredCursor | None:
        try:
            body, digest, end = self._store.read(place).split(b"\n")
            if end or hashlib.sha256(body).hexdigest().encode() != digest:
                raise ValueError
            return StoredCursor(**loads_checked(body))
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = system_reason(error)
        except (ValueError, TypeError):
            reason = "it is damaged"
        flow, step, key = _names(place)
        raise _damaged(flow or place, step or place, key or "", reason)


def _damaged(flow: str, step: str, key: str, reason: str) -> DamagedCursorError:
    more = f" --key '{key}'" if key else ""
    return DamagedCursorError(
        f"the stored cursor of step '{step}' of flow '{flow}' can't be used: {reason}; "
        f"repair it with: flowtoy state set '{flow}' '{step}' VALUE{more}, or with "
        "'flowtoy state reset' to start from the initial value",
        reason,
    )


def _place(flow: str, step: str, key: str) -> str:
    folder = f"{quoted(flow)}/{quoted(step)}"
    return f"{folder}/{_KEYED}/{quoted(key)}" if key else f"{folder}/{_ONE}"


def _names(place: str) -> tuple[str | None, str | None, str | None]:
    """Flow, step and key of a place; None for each that only its hash is known of."""
    flow, step, *rest = place.split("/")
    names = [flow, step, rest[1] if len(rest) > 1 else ""]
    return tuple(  # type: ignore[return-value] # three of three
        None if len(name) == _HASH else urllib.parse.unquote(name) for name in names
    )


def cursors_of(root_directory: str | Path) -> CursorStore:
    """The cursors that belong to the home of a Dagster instance."""
    return FolderCursors(shared_store(root_directory, CURSORS_FOLDER))
