"""What a repeated step is repeated for: its items and their keys (language 18.1 to 18.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from flowtoy_dagster.datafiles.facts import file_facts
from flowtoy_dagster.datafiles.places import PlaceError
from flowtoy_dagster.datafiles.reading import FileRecords
from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.flow.compile.diagnostics import first_mistake
from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.schema.for_each import ForEachConfig
from flowtoy_dagster.flow.templates.names import BATCH, LOOP, Names
from flowtoy_dagster.flow.templates.render import render, render_all
from flowtoy_dagster.masking.mask import HIDDEN
from flowtoy_dagster.steps.scope import with_names
from flowtoy_dagster.steps.state.items import Item

MOST_ITEMS = 1_000_000
_LONGEST_SHOWN = 40


@dataclass(frozen=True)
class ItemList:
    """The items of a step, of which each is made when it is asked for.

    Attributes:
        settings: `for_each` with its templates rendered.
        values: what the items are.
        keys: what distinguishes them; None where it is their position.
    """

    settings: ForEachConfig
    values: Sequence[Any]
    keys: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def close(self) -> None:
        """Let go of what the values hold, such as an open file."""
        _close(self.values)

    def key(self, index: int) -> str:
        """The key of the item at a place."""
        return str(index) if self.keys is None else self.keys[index]

    def item(self, index: int) -> Item:
        """The item at a place."""
        key = self.key(index)
        return Item(index, key, self.names(index, {"key": key}))

    def names(self, index: int, more: Mapping[str, Any]) -> dict[str, Any]:
        """What the item's own names stand for.

        Args:
            index: its place.
            more: what `loop` has besides its place.
        """
        loop = {"index": index + 1, "index0": index, "length": len(self.values), **more}
        value = self._value(index)
        names = {self.settings.name: value, LOOP: Names(loop, _why_not_in_loop)}
        if self.settings.batch is not None:
            names[BATCH] = value
        return names

    def _value(self, index: int) -> Any:
        try:
            return self.values[index]
        except PlaceError as error:  # a record of a file is read when it is needed
            raise StepError(f"for_each: {error}") from None


def list_items(
    written: ForEachConfig, scope: Mapping[str, Any], *, has_hidden: bool = False
) -> ItemList:
    """What a step is repeated for.

    Args:
        written: `for_each`, templates unrendered.
        scope: what the names in templates stand for.
        has_hidden: whether what is hidden in keys may be the only difference between them: such
            a key gets the place of its item.

    Raises:
        StepError: it is no list, too long, or two items have the same key; says which.
    """
    settings = _settings(written, scope)
    values = _values(settings.iterated)
    if settings.batch is not None:
        values = Batches(values, int(settings.batch))
    if len(values) > MOST_ITEMS:
        raise StepError(f"for_each: {len(values):,} items; the limit is {MOST_ITEMS:,}")
    items = ItemList(settings, values)
    if settings.key is None:
        return items
    return ItemList(settings, values, _keys(items, settings.key, scope, has_hidden))


def _settings(written: ForEachConfig, scope: Mapping[str, Any]) -> ForEachConfig:
    values = written.model_dump(by_alias=True, warnings=False)
    key = values.pop("key")
    rendered: dict[str, Any] = {}
    try:
        for name, value in values.items():
            rendered[name] = render_all(value, scope, f"for_each.{name}")
    except TemplateError as error:
        raise StepError(str(error)) from None
    iterated = rendered.pop("in")
    if not isinstance(iterated, (list, dict)):
        raise StepError(f"for_each: expected a list or a mapping, got {_shown(iterated)}")
    try:
        settings = ForEachConfig.model_validate({**rendered, "in": []})
    except ValidationError as error:
        raise StepError(f"for_each.{': '.join(first_mistake(error))}") from None
    return settings.model_copy(update={"iterated": iterated, "key": key})


def _shown(value: Any) -> str:
    if isinstance(value, str):
        is_short = len(value) <= _LONGEST_SHOWN
        return f"the text {show(value)}" if is_short else f"a text of {len(value)} characters"
    return show(value)


class Batches(Sequence[Any]):
    """A list in parts, each of which is made when it is asked for.

    Args:
        values: the list.
        size: how many entries a part has; the last one may have fewer.
    """

    def __init__(self, values: Sequence[Any], size: int) -> None:
        self._values = values
        self._size = size

    def __len__(self) -> int:
        return math.ceil(len(self._values) / self._size)

    def __getitem__(self, index: Any) -> Any:
        """The part at a place."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._values[index * self._size : (index + 1) * self._size]

    def close(self) -> None:
        """Let go of what the list holds."""
        _close(self._values)


def _close(values: Sequence[Any]) -> None:
    if isinstance(values, (FileRecords, Batches)):
        values.close()


def _values(iterated: list[Any] | dict[str, Any]) -> Sequence[Any]:
    """The items of what a step is repeated for; those of a file are read when they are needed."""
    facts = file_facts(iterated)
    if facts is not None:
        try:
            return FileRecords(facts)
        except PlaceError as error:
            raise StepError(f"for_each: {error}") from None
    if isinstance(iterated, dict):
        return [{"key": key, "value": value} for key, value in iterated.items()]
    return iterated


def _keys(
    items: ItemList, template: str, scope: Mapping[str, Any], has_hidden: bool
) -> list[str]:
    """The key of each item; all of them, before anything is called."""
    keys: list[str] = []
    seen: dict[str, int] = {}
    for index in range(len(items)):
        try:
            value = render(template, with_names(scope, items.names(index, {})))
        except TemplateError as error:
            raise StepError(f"for_each.key of item {index}: {error.message}") from None
        key = _key_text(value, index)
        if has_hidden and HIDDEN in key:
            key = told_apart(key, index)
        if key in seen:
            raise StepError(
                f"for_each.key: items {seen[key]} and {index} have the same key {_shown(key)}"
            )
        seen[key] = index
        keys.append(key)
    return keys


def told_apart(key: str, index: int) -> str:
    """A key in which a secret is hidden, with the place of its item."""
    return f"{key}~{index}"


def _key_text(value: Any, index: int) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise StepError(
            f"for_each.key of item {index}: expected text or a number, got {_shown(value)}"
        )
    key = str(value)
    if not key.strip():
        raise StepError(f"for_each.key of item {index}: it is empty")
    if not key.isascii() and key.encode("utf-8", "replace").decode() != key:
        raise StepError(f"for_each.key of item {index}: it has characters that are not Unicode")
    return key


def _why_not_in_loop(name: str) -> str:
    if name == "key":
        return "'loop' has no 'key' where the key itself is made"
    return f"'loop' has no '{name}': it has index, index0, length and key"
