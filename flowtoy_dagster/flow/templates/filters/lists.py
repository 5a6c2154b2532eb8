"""Jinja2's filters of lists: they give lists, and lose or join nothing that is not the same."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jinja2 import Environment, pass_environment
from jinja2.filters import FILTERS, ignore_case, make_attrgetter

_LAZY = (
    "batch", "items", "map", "reject", "rejectattr", "reverse", "select", "selectattr", "slice",
)  # fmt: skip
"""Filters whose results are always true, and have no length, in Jinja2."""


def of_lists(filters: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Jinja2's filters of lists.

    `unique` and `groupby` take `a` and `A` for two, unless `case_sensitive=false` is written.
    """
    listing = {name: _listing(filters[name]) for name in _LAZY}
    return {**listing, "groupby": _groupby, "unique": _listing(_unique)}


def _listing(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def listing(*args: Any, **named: Any) -> Any:
        found = function(*args, **named)
        return list(found) if isinstance(found, Iterator) else found

    return listing


@pass_environment
def _groupby(
    environment: Environment, value: Any, attribute: Any, default: Any = None,
    case_sensitive: bool = True,
) -> Any:  # fmt: skip
    return FILTERS["groupby"](environment, value, attribute, default, case_sensitive)


@pass_environment
def _unique(
    environment: Environment, value: Iterable[Any], case_sensitive: bool = True,
    attribute: str | int | None = None,
) -> Iterator[Any]:  # fmt: skip
    postprocess = None if case_sensitive else ignore_case
    find = make_attrgetter(environment, attribute, postprocess=postprocess)
    seen = set()
    for item in value:
        key = _key(find(item))
        if key not in seen:
            seen.add(key)
            yield item


def _key(value: Any) -> Any:
    """What is the same for values that are the same as JSON: `1` and `1.0`, but not `true`."""
    if isinstance(value, Mapping):
        return dict, frozenset((key, _key(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return list, tuple(map(_key, value))
    return (bool, value) if isinstance(value, bool) else value
