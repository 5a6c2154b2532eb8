"""What is stored of a step's cursor, and what an attempt makes of it (language 22)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.flow.schema.incremental import IncrementalConfig
from flowtoy_dagster.flow.templates.jinja import search
from flowtoy_dagster.steps.state.cursor_values import (
    CursorError,
    Scalar,
    cursor_value,
    is_later,
    is_numbered_otherwise,
    shown,
)

NEVER_STORED = ""
"""The version of a cursor of which nothing is stored."""


class StoredCursor(NamedTuple):
    """A cursor value as it is stored.

    Attributes:
        flow: the flow's name.
        step: the step's name.
        key: identifies one of several values of a step; empty where there is one.
        value: as the server gave it; None after a reset.
        version: another one each time that something is stored.
        run_id: the run that stored it; None where a person did.
        stored_at: seconds since 1970.
        secret: whether the value is hidden where it is shown.
        item: the key of the item that it is of; None where it is the step's.
    """

    flow: str
    step: str
    key: str = ""
    value: Scalar | None = None
    version: str = NEVER_STORED
    run_id: str | None = None
    stored_at: float = 0.0
    secret: bool = False
    item: str | None = None


class CursorReader(Protocol):
    """Where cursor values are stored (`store.cursors`)."""

    def read(
        self, flow: str, step: str, key: str = "", item: str | None = None
    ) -> StoredCursor | None:
        """What is stored of a step, or of an item of it by its key; None where nothing is.

        Raises:
            StepError: it can't be read.
        """

    def has_items(self, flow: str, step: str, key: str = "") -> bool:
        """Whether anything is stored of items of a step; raises as `read` does."""


class CursorUse(NamedTuple):
    """What a step has used and read of its cursor; part of its record.

    Attributes:
        key: of the stored value.
        version: of the stored value that it used.
        last_value: the stored value, or the initial one.
        start_value: the same less the lag.
        value: the new value; None where nothing new was read.
        secret: whether the values are hidden where they are shown.
        is_initial: whether `last_value` is the initial one: nothing was stored.
    """

    key: str
    version: str
    last_value: Scalar | None
    start_value: Scalar | None
    value: Scalar | None = None
    secret: bool = False
    is_initial: bool = False

    def facts(self) -> dict[str, Any]:
        """The use as plain data."""
        return self._asdict()

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> CursorUse:
        """The use in what `facts` gave."""
        known = {name: facts[name] for name in cls._fields if name in facts}
        # All items whose values were stored at once have the same one.
        return cls(**{**known, "version": sys.intern(known["version"])})


class CursorCounts(NamedTuple):
    """What has become of the cursors of a step's items: how many of them.

    Attributes:
        stored: have a new value, which is stored.
        unchanged: have no new value: nothing newer was read, or the item did not succeed.
        held: have a new value, which something holds back.
    """

    stored: int = 0
    unchanged: int = 0
    held: int = 0

    @property
    def words(self) -> str:
        """`3 stored, 1 unchanged`."""
        counts = {"stored": self.stored, "unchanged": self.unchanged, "not stored": self.held}
        return ", ".join(f"{count:,} {word}" for word, count in counts.items() if count) or "none"


class _Told(Protocol):
    """A named tuple that tells what has become of a step's cursor, or of those of its items."""

    @property
    def items(self) -> CursorCounts | None:
        """The counts of those of its items."""

    def _asdict(self) -> dict[str, Any]: ...


def told_facts(told: _Told) -> dict[str, Any]:
    """What has become of a cursor, as plain data."""
    items = told.items._asdict() if told.items is not None else None
    return {**told._asdict(), "items": items}


class CursorTracker:
    """Finds the new value in records, as they come.

    Args:
        config: as the step has it; its `cursor_path` is looked up in each record.
        stored: the value that the new one must go beyond; None where nothing is stored.
    """

    def __init__(self, config: IncrementalConfig, stored: Scalar | None) -> None:
        path = config.cursor_path or ""
        self._path = path
        self._find = _finder(path)
        self._missing = config.on_cursor_value_missing
        self._is_largest = config.order == "max"
        self._is_secret = config.secret
        self._stored = stored
        self._latest = stored
        self._count = 0
        self._has_found = False
        self._doubt: tuple[Scalar, Scalar] | None = None

    @property
    def value(self) -> Scalar | None:
        """The new value; None where nothing goes beyond the stored one."""
        return None if self._latest is self._stored else self._latest

    @property
    def doubt(self) -> str | None:
        """Why the values are hardly what was meant; None where nothing says so."""
        if self._count and not self._has_found:
            then = "all are left out" if self._missing == "exclude" else "the value stays as it is"
            return f"'{self._path}' is in none of the {self._count:,} records: {then}"
        if self._doubt is None:
            return None
        if self._is_secret:
            return "its values are compared as text, although numbers in them have another order"
        later, earlier = sorted(map(str, self._doubt), reverse=True)
        return (
            f"{shown(later)} comes after {shown(earlier)}, as they are compared as text; take a "
            "number or a timestamp as the cursor, unless the server has the same order"
        )

    def take(self, records: list[Any]) -> list[Any]:
        """Take in the next records.

        Returns:
            those that the step keeps: the same list where it keeps all.

        Raises:
            StepError: a record has no cursor value, or one that can't be used.
        """
        dropped = False
        kept: list[Any] = []
        for record in records:
            self._count += 1
            if self._has_value(record) or self._missing == "include":
                kept.append(record)
            elif self._missing == "exclude":
                dropped = True
            else:
                raise StepError(
                    f"incremental: record {self._count} has no value at '{self._path}'; "
                    "'on_cursor_value_missing: include' or 'exclude' allows that"
                )
        return kept if dropped else records

    def _has_value(self, record: Any) -> bool:
        try:
            found = self._find(record)
            if found is None:
                return False
            self._consider(cursor_value(found))
        except TemplateError as error:
            raise StepError(f"incremental: record {self._count}: {error.message}") from None
        except CursorError as error:
            if self._is_secret:
                raise StepError(
                    f"incremental: record {self._count}: its value is not a cursor, or can't be "
                    "compared with those before; it is secret, and not shown"
                ) from None
            hint = ""
            if self._latest is not None and self._latest is self._stored:
                hint = (
                    f"; {shown(self._stored)} is stored: where the server has changed its format, "
                    "'flowtoy state set' or 'reset' changes that"
                )
            raise StepError(f"incremental: record {self._count}: {error}{hint}") from None
        self._has_found = True
        return True

    def _consider(self, value: Scalar) -> None:
        latest = self._latest
        if latest is not None:
            if self._doubt is None and is_numbered_otherwise(value, latest):
                self._doubt = (value, latest)
            later, earlier = (value, latest) if self._is_largest else (latest, value)
            if not is_later(later, earlier):
                return
        self._latest = value


def _finder(path: str) -> Callable[[Any], Any]:
    """What looks a path up in a record; a plain name needs no JMESPath."""
    if not path.isidentifier():
        return lambda record: search(path, record)
    return lambda record: record.get(path) if isinstance(record, dict) else search(path, record)
