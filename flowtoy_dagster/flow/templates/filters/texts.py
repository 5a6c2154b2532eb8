"""Jinja2's filters of texts: what is no text, they take as a template prints it (language 6.2)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jinja2

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.templates.values import text

_TAKE_TEXT = (
    "capitalize", "center", "e", "escape", "forceescape", "indent", "lower", "safe", "striptags",
    "title", "trim", "upper", "wordcount",
)  # fmt: skip
_TAKE_TEXT_SECOND = ("truncate", "urlize", "wordwrap")
"""Jinja2 puts its environment before the value that these take."""
_REPLACED = ("s", "old", "new")
"""The arguments of the filter `replace` that are texts."""


def of_texts(filters: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Jinja2's filters of texts, made to take any value."""
    taking = {name: _taking(filters[name], _as_text, 0) for name in _TAKE_TEXT}
    taking.update({name: _taking(filters[name], _as_text, 1) for name in _TAKE_TEXT_SECOND})
    taking["replace"] = _replacing(filters["replace"])
    taking["urlencode"] = _taking(filters["urlencode"], _of_query, 0)
    taking["xmlattr"] = _taking(filters["xmlattr"], _of_attributes, 1)
    return taking


def _taking(
    function: Callable[..., Any], convert: Callable[[Any], Any], at: int
) -> Callable[..., Any]:
    """A filter that converts its value first.

    Args:
        function: the filter.
        convert: what is done with the value.
        at: which of the arguments the value is.
    """

    @functools.wraps(function)
    def taking(*args: Any, **named: Any) -> Any:
        return function(*args[:at], *map(convert, args[at : at + 1]), *args[at + 1 :], **named)

    return taking


def _replacing(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def replacing(context: Any, *args: Any, **named: Any) -> Any:
        count = len(_REPLACED)
        texts = {key: _as_text(value) if key in _REPLACED else value
                 for key, value in named.items()}
        return function(context, *map(_as_text, args[:count]), *args[count:], **texts)

    return replacing


def _as_text(value: Any) -> str:
    # A text that is escaped for HTML knows that it is.
    return value if isinstance(value, str) else text(value)


def _of_query(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_as_text(key): _as_text(item) for key, item in value.items()}
    if not isinstance(value, (list, tuple)):
        return _as_text(value)
    for pair in value:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise TemplateError(
                "urlencode: of a list, it takes pairs of a name and a value; for the list as text "
                "write '| tojson | urlencode'"
            )
    return [(_as_text(key), _as_text(item)) for key, item in value]


def _of_attributes(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise TemplateError("xmlattr: it takes a mapping of attributes and their values")
    return {
        _as_text(key): _as_text(item) for key, item in value.items()
        if item is not None and not isinstance(item, jinja2.Undefined)
    }
