"""Cursor values of steps with `incremental`, in the home (language 22).

There is one small piece for each value of a step, and one for all the values of its items. A value
is replaced only by a process that knows the current version. What is read is verified: a damaged
piece is an error, never a step that begins from the start again.
"""

from __future__ import annotations

import hashlib
import threading
import time
import urllib.parse
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flowtoy_dagster.errors import StepError, system_reason
from flowtoy_dagster.json_text import dumps, loads_checked
from flowtoy_dagster.steps.state.cursors import NEVER_STORED, StoredCursor
from flowtoy_dagster.store.shared.shared_files import shared_store
from flowtoy_dagster.store.store import Store, quoted

CURSORS_FOLDER = "flowtoy-state"
_ONE = "state"
_KEYED = "keys"
_ITEMS = "items"
_KEYED_ITEMS = "keyed-items"
_HASH = 64
_OF_WRITE = ("version", "run_id", "stored_at", "secret")


class DamagedCursorError(StepError):
    """What is stored of a cursor can't be read; the text says how to repair it.

    Attributes:
        reason: why it can't be read.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class DamagedCursor(NamedTuple):
    """A stored cursor that can't be read.

    Attributes:
        place: where it is, below the folder of all.
        reason: why it can't be read.
        flow: the flow's name; None where it is not known, as for the next two.
        step: the step's name.
        key: identifies one of several values of a step.
        of_items: whether it is that of all items of the step.
    """

    place: str
    reason: str
    flow: str | None = None
    step: str | None = None
    key: str | None = None
    of_items: bool = False


class CursorStore(ABC):
    """The stored cursors of all flows."""

    @abstractmethod
    def read(
        self, flow: str, step: str, key: str = "", item: str | None = None
    ) -> StoredCursor | None:
        """What is stored of a step, or of an item of it by its key; None where nothing ever was.

        Raises:
            DamagedCursorError: it can't be read.
        """

    @abstractmethod
    def items(self, flow: str, step: str, key: str = "") -> Mapping[str, StoredCursor]:
        """What is stored of the items of a step, by their keys; raises as `read` does."""

    def has_items(self, flow: str, step: str, key: str = "") -> bool:
        """Whether anything is stored of items of a step; raises as `read` does."""
        return bool(self.items(flow, step, key))

    @abstractmethod
    def swap_items(
        self, changes: Sequence[tuple[StoredCursor, str | None]]
    ) -> list[StoredCursor | None]:
        """Store values of items, each if what is stored of it has the expected version.

        Args:
            changes: what to store, all of one step and key, and what version is expected: as
                `swap` has them.

        Returns:
            for each what `swap` would return; all that is stored is stored at once, or nothing is.

        Raises:
            DamagedCursorError: what is there can't be read.
            OSError: it can't be written.
        """

    @abstractmethod
    def forget_items(self, flow: str, step: str, key: str = "") -> None:
        """Remove all that is stored of the items of a step, also what is damaged.

        Raises:
            OSError: it can't be removed.
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
        """All that is stored, or all of a flow, by flow, step, key and item."""

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

    def read(  # noqa: D102
        self, flow: str, step: str, key: str = "", item: str | None = None
    ) -> StoredCursor | None:
        if item is not None:
            return self.items(flow, step, key).get(item)
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

    def items(  # noqa: D102
        self, flow: str, step: str, key: str = ""
    ) -> dict[str, StoredCursor]:
        try:
            found = self._items(_items_place(flow, step, key))
        except DamagedCursorError as error:
            raise _damaged_items(flow, step, error.reason) from None
        for one in found.values():
            if (one.flow, one.step, one.key) != (flow, step, key):
                raise _damaged_items(flow, step, f"it is that of step '{one.step}' of '{one.flow}'")
            break
        return found

    def swap_items(  # noqa: D102
        self, changes: Sequence[tuple[StoredCursor, str | None]]
    ) -> list[StoredCursor | None]:
        if not changes:
            return []
        flow, step, key = changes[0][0].flow, changes[0][0].step, changes[0][0].key
        instead: list[StoredCursor | None] = []
        written = _Writing()
        with self._store.lock(alone=True):
            stored = self.items(flow, step, key)
            for new, expected in changes:
                current = stored.get(new.item or "")
                version = current.version if current is not None else NEVER_STORED
                if expected is not None and version != expected:
                    instead.append(current or _nothing(new))
                    continue
                stored[new.item or ""] = written.of(new)
                instead.append(None)
            if None in instead:
                body = {"flow": flow, "step": step, "key": key, **_facts_of_items(stored)}
                self._put(_items_place(flow, step, key), body)
        return instead

    def forget_items(self, flow: str, step: str, key: str = "") -> None:  # noqa: D102
        with self._store.lock(alone=True):
            self._store.delete(_items_place(flow, step, key))

    def swap(self, new: StoredCursor, expected: str | None) -> StoredCursor | None:  # noqa: D102
        if new.item is not None:
            return self.swap_items([(new, expected)])[0]
        with self._store.lock(alone=True):
            if expected is not None:
                current = self.read(new.flow, new.step, new.key)
                if (current.version if current is not None else NEVER_STORED) != expected:
                    return current or _nothing(new)
            facts = _Writing().of(new)._asdict()
            del facts["item"]
            self._put(_place(new.flow, new.step, new.key), facts)
        return None

    def all(  # noqa: D102
        self, flow: str | None = None
    ) -> Iterator[StoredCursor | DamagedCursor]:
        prefix = quoted(flow) if flow is not None else None
        for place in sorted(self._store.list(prefix)):
            of_items = place.split("/")[2] in (_ITEMS, _KEYED_ITEMS)
            try:
                if of_items:
                    yield from (found for _, found in sorted(self._items(place).items()))
                elif (found := self._read(place)) is not None:
                    yield found
            except DamagedCursorError as error:
                yield DamagedCursor(place, error.reason, *_names(place), of_items)

    def clean(self) -> int:  # noqa: D102
        return self._store.clean()

    def _put(self, place: str, facts: Mapping[str, Any]) -> None:
        body = dumps(facts)
        digest = hashlib.sha256(body).hexdigest().encode()
        self._store.put(place, b"%s\n%s\n" % (body, digest))

    def _read(self, place: str) -> StoredCursor | None:
        facts = self._facts(place)
        try:
            return StoredCursor(**facts) if facts is not None else None
        except TypeError:
            raise _damaged_piece(place, "it is damaged") from None

    def _items(self, place: str) -> dict[str, StoredCursor]:
        facts = self._facts(place)
        if facts is None:
            return {}
        try:
            names = {name: facts[name] for name in ("flow", "step", "key")}
            writes = [dict(zip(_OF_WRITE, one, strict=True)) for one in facts["writes"]]
            return {
                item: StoredCursor(**names, item=item, value=value, **writes[write])
                for item, (value, write) in facts["items"].items()
            }
        except (TypeError, ValueError, LookupError, AttributeError):
            raise _damaged_piece(place, "it is damaged") from None

    def _facts(self, place: str) -> dict[str, Any] | None:
        """What is in a piece; None where there is none."""
        try:
            body, digest, end = self._store.read(place).split(b"\n")
            if end or hashlib.sha256(body).hexdigest().encode() != digest:
                raise ValueError
            found: dict[str, Any] = loads_checked(body)
            return found
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = system_reason(error)
        except ValueError:
            reason = "it is damaged"
        raise _damaged_piece(place, reason)


class CursorsOfAttempt:
    """Cursors as one attempt of a step sees them: those of its items are read once.

    Used by several threads at once.

    Args:
        cursors: the stored ones.
    """

    def __init__(self, cursors: CursorStore) -> None:
        self._cursors = cursors
        self._lock = threading.Lock()
        self._items: dict[tuple[str, str, str], Mapping[str, StoredCursor]] = {}

    def read(
        self, flow: str, step: str, key: str = "", item: str | None = None
    ) -> StoredCursor | None:
        """What is stored; raises StepError where it can't be read."""
        if item is None:
            return self._cursors.read(flow, step, key)
        return self._of_items(flow, step, key).get(item)

    def has_items(self, flow: str, step: str, key: str = "") -> bool:
        """Whether anything is stored of items of a step; raises as `read` does."""
        return bool(self._of_items(flow, step, key))

    def _of_items(self, *place: str) -> Mapping[str, StoredCursor]:
        flow, step, key = place
        with self._lock:
            if (flow, step, key) not in self._items:
                self._items[flow, step, key] = self._cursors.items(flow, step, key)
            return self._items[flow, step, key]


class _Writing:
    """What is stored at once: values of one version and time."""

    def __init__(self) -> None:
        self._version = uuid.uuid4().hex
        self._at = time.time()

    def of(self, new: StoredCursor) -> StoredCursor:
        """A value as it is stored now."""
        return new._replace(version=self._version, stored_at=self._at)


def _nothing(new: StoredCursor) -> StoredCursor:
    """What is there instead of a value, where nothing is."""
    return new._replace(value=None, version=NEVER_STORED, run_id=None)


def _facts_of_items(items: Mapping[str, StoredCursor]) -> dict[str, Any]:
    """Each item's value, and which of the writes it is from: one has written many of them."""
    writes: dict[tuple[Any, ...], int] = {}
    values = {
        item: [one.value, writes.setdefault(_write_of(one), len(writes))]
        for item, one in items.items()
    }
    return {"writes": list(writes), "items": values}


def _write_of(one: StoredCursor) -> tuple[Any, ...]:
    return one.version, one.run_id, one.stored_at, one.secret


def _damaged_piece(place: str, reason: str) -> DamagedCursorError:
    flow, step, key = _names(place)
    return _damaged(flow or place, step or place, key or "", reason)


def _damaged_items(flow: str, step: str, reason: str) -> DamagedCursorError:
    return DamagedCursorError(
        f"the stored cursors of the items of step '{step}' of flow '{flow}' can't be used: "
        f"{reason}; let all items start from the initial value with: flowtoy state reset "
        f"'{flow}' '{step}'",
        reason,
    )


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


def _items_place(flow: str, step: str, key: str) -> str:
    folder = f"{quoted(flow)}/{quoted(step)}"
    return f"{folder}/{_KEYED_ITEMS}/{quoted(key)}" if key else f"{folder}/{_ITEMS}"


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
