"""The JSON of an output while its record is written, and what may be shown of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from flowtoy_dagster.json_text import dumps_checked
from flowtoy_dagster.masking.mask import HIDDEN, Mask

PREVIEW_CHARACTERS = 200
PREVIEW_BYTES = 16 * 1024


class OutputSummary(NamedTuple):
    """What may be shown of an output without its value.

    Attributes:
        type: the JSON type (`list`, `object`, `text`, …).
        bytes: its size as JSON.
        items: how many items or keys it has; None for scalars.
        preview: the first part of its JSON.
    """

    type: str
    bytes: int
    items: int | None
    preview: str

    def as_json(self) -> dict[str, Any]:
        """The summary as plain data, without absent parts."""
        facts = {"type": self.type, "items": self.items, "bytes": self.bytes,
                 "preview": self.preview}
        return {key: value for key, value in facts.items() if value is not None}


class ValueText:
    """A value as JSON.

    Args:
        value: the value.
    """

    def __init__(self, value: Any) -> None:
        self._value = value
        self._encoded = dumps_checked(value)

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self._encoded)

    def parts(self) -> Iterator[bytes]:
        """The text, in one part or several."""
        yield self._encoded

    def summary(self, mask: Mask, *, hidden: bool) -> OutputSummary:
        """What may be shown of it."""
        return summarize(self._value, self._encoded, mask, hidden=hidden)


class ListText:
    """A list of values as JSON, of which one is in memory at a time.

    Args:
        values: gives the values, each time anew.
    """

    def __init__(self, values: Callable[[], Iterator[Any]]) -> None:
        self._values = values

    @cached_property
    def _measured(self) -> tuple[int, int]:
        """Its bytes and its items."""
        size, items = 2, 0
        for value in self._values():
            size, items = size + len(dumps_checked(value)) + 1, items + 1
        return size - (items > 0), items

    @property
    def size(self) -> int:
        """Its bytes."""
        return self._measured[0]

    def parts(self) -> Iterator[bytes]:
        """The text, in parts."""
        separator = b"["
        for value in self._values():
            yield separator + dumps_checked(value)
            separator = b","
        yield b"[]" if separator == b"[" else b"]"

    def summary(self, mask: Mask, *, hidden: bool) -> OutputSummary:
        """What may be shown of it."""
        size, items = self._measured
        start = bytearray()
        for part in self.parts():
            start += part
            if len(start) > PREVIEW_BYTES:
                break
        found = summarize([], bytes(start), mask, hidden=hidden)
        return OutputSummary("list", size, None if hidden else items, found.preview)


def summarize(
    value: Any, encoded: bytes, mask: Mask, *, hidden: bool = False
) -> OutputSummary:
    """What may be shown of a value, given its JSON and what must be hidden of it.

    Args:
        value: the value.
        encoded: its JSON.
        mask: hides the secrets that may be in it.
        hidden: whether it is a secret as a whole, of which nothing is shown.
    """
    kinds = {type(None): "null", bool: "true or false", int: "number", float: "number",
             str: "text", list: "list", tuple: "list"}
    items = len(value) if isinstance(value, (list, tuple, Mapping)) else None
    if hidden:
        return OutputSummary(kinds.get(type(value), "object"), len(encoded), None, HIDDEN)
    # Masked before it is cut, so that no part of a secret is left.
    start = encoded[:PREVIEW_BYTES].decode("utf-8", "ignore")
    is_all = len(encoded) <= PREVIEW_BYTES
    shown = mask.text(start) if is_all else mask.head(start + " ", len(start))
    preview = shown[:PREVIEW_CHARACTERS]
    if len(preview) < len(shown) or not is_all:
        preview += "…"
    return OutputSummary(kinds.get(type(value), "object"), len(encoded), items, preview)
