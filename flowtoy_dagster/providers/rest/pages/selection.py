"""Where the records of a page are (language 21.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jmespath import parser

from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.templates.jinja import unfiltered
from flowtoy_dagster.providers.rest.pages.paths import PageError, find, keys_of


class Selector:
    """Takes the records out of one page after the other.

    Args:
        path: JMESPath, or None for the page itself or the only list in it.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._key: str | None = None

    def records(self, data: Any) -> list[Any]:
        """The records of a page; none where it is empty.

        Raises:
            PageError: it can't be said where they are.
        """
        if data is None or data == "":
            return []
        if self._path is not None:
            return _selected(self._path, data)
        if isinstance(data, list):
            return data
        if not isinstance(data, Mapping):
            raise PageError(f"it holds no records: {keys_of(data)}")
        found = [key for key, value in data.items() if isinstance(value, list)]
        if len(found) != 1:
            lists = "no list" if not found else "lists in " + ", ".join(f"'{k}'" for k in found)
            raise PageError(
                f"it can't be said where its records are: it has {lists}, and {keys_of(data)}; "
                "'data_selector' says where they are"
            )
        if self._key is not None and found[0] != self._key:
            # An error with status 200 may hold a list too.
            raise PageError(
                f"its only list is in '{found[0]}', while that of earlier pages was in "
                f"'{self._key}'; 'data_selector' says where the records are"
            )
        self._key = found[0]
        records: list[Any] = data[self._key]
        return records

    def size(self, data: Any, records: Sequence[Any]) -> int:
        """How many records the server gave: a filter in the path leaves some of them out.

        Args:
            data: of a page.
            records: what `records` found in it.
        """
        given = unfiltered(self._path, data) if self._path is not None else None
        return len(given if isinstance(given, list) else records)


def _selected(path: str, data: Any) -> list[Any]:
    found = find(path, data, "data_selector")
    if isinstance(found, list):
        return found
    if found is None:
        if _is_null(path, data):
            return []
        raise PageError(
            f"'data_selector' ({path}) found nothing: {keys_of(data)}; where a page without "
            f"records has no such key, write {path} || `[]`"
        )
    wanted = f"; for a single record write [{path}]" if isinstance(found, Mapping) else ""
    raise PageError(f"'data_selector' ({path}) must find a list, and found {show(found)}{wanted}")


def _is_null(path: str, data: Any) -> bool:
    """Whether a page has the key that a path of plain names ends with, as null."""
    node = parser.Parser().parse(path).parsed
    names: list[str] = []
    while node["type"] == "subexpression" and node["children"][1]["type"] == "field":
        names.insert(0, node["children"][1]["value"])
        node = node["children"][0]
    if node["type"] != "field":
        return False
    for name in [node["value"], *names]:
        if not isinstance(data, Mapping) or name not in data:
            return False
        data = data[name]
    return data is None
