"""Where the records of a result are, where a call has not handed them over by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from flowtoy_dagster.errors import StepError
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.kind import ResultView


class Records(NamedTuple):
    """The records of a result.

    Attributes:
        records: all of them.
        key: of the list in the content, where that is a mapping.
    """

    records: list[Any]
    key: str | None = None


def records_in(view: ResultView, *, alone: bool = False) -> Records | None:
    """The records of a result: what it is, where that is a list, else the only list in it.

    Args:
        view: the result.
        alone: whether only the first counts, and nothing is an error.

    Returns:
        None where there are none.

    Raises:
        StepError: it can't be said where they are.
    """
    content = view.content
    if isinstance(content, list):
        return Records(content)
    if alone or content is None or content == "":
        return None
    if not isinstance(content, Mapping):
        raise StepError("incremental: the result has no records: it is neither list nor mapping")
    lists = [key for key, value in content.items() if isinstance(value, list)]
    if len(lists) != 1:
        listed = ", ".join(f"'{key}'" for key in lists)
        told = f"it has lists in {listed}" if lists else "it has no list"
        raise StepError(
            f"incremental: it can't be said where the records of the result are: {told}; "
            "'data_selector' of a REST source says it, or write 'value' instead of 'cursor_path'"
        )
    return Records(content[lists[0]], lists[0])


def with_records(view: ResultView, found: Records, kept: list[Any]) -> ProviderResult:
    """The result with those of its records that are kept.

    Raises:
        StepError: it can't be changed.
    """
    result, content = view.result, view.content
    if kept is found.records:
        return result
    changed = kept if found.key is None else {**content, found.key: kept}
    if content is result.data:
        return replace(result, data=changed)
    held = result.data if isinstance(result.data, dict) else {}
    places = [key for key, value in held.items() if value is content]
    if len(places) != 1:
        raise StepError("incremental: no records can be left out of what this provider gives")
    return replace(result, data={**held, places[0]: changed})
