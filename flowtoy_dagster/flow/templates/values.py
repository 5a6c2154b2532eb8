"""What a template's expressions give, as text and as plain data (language 6.2)."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jinja2

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.templates.words.python_words import in_words
from flowtoy_dagster.json_text import JsonError, dumps, key_text


def text(value: Any) -> str:
    """A value as a template prints it: text as it is, null as nothing, else JSON."""
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, jinja2.Undefined):
        return str(value)
    return to_json(value)


def to_json(value: Any) -> str:
    """A value as compact JSON.

    Raises:
        TemplateError: JSON can't hold it (a function, or NaN, for example).
        jinja2.UndefinedError: something within it is missing.
    """
    try:
        return dumps(value).decode()
    except JsonError:
        # It may be made of more than mappings, lists and scalars.
        data = plain(value)
    try:
        return dumps(data).decode()
    except JsonError as error:
        raise TemplateError(str(error)) from None


def _no_data(value: Any) -> TemplateError:
    told = in_words(type(value).__name__)
    if callable(value):
        return TemplateError(f"{told} is no value: '()' after its name calls it")
    return TemplateError(f"{told} can't be rendered: it is not data")


def _is_list_like(value: Any) -> bool:
    listed = isinstance(value, (Collection, Iterator))
    return listed and not isinstance(value, (str, bytes, bytearray, memoryview))


def native(value: Any) -> Any:
    """The value of an expression as plain data; missing values are errors."""
    if value is None or type(value) in (bool, int, str, dict, list):
        return value
    return plain(value)


def plain(value: Any, path: str = "") -> Any:
    """A value made of mappings, lists and scalars alone, however it was put together.

    Args:
        value: what an expression gave.
        path: where it is in that (`rows[2].ratio`); empty for all of it.

    Raises:
        TemplateError: something within it is no value, or no number that JSON can hold.
        jinja2.UndefinedError: something within it is missing.
    """
    if isinstance(value, (str, jinja2.Undefined)):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise TemplateError(str(JsonError(f"JSON can't hold the number {float(value)}", path)))
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return _plain_mapping(value, path)
    if _is_list_like(value):
        return [plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    raise _no_data(value)


def _plain_mapping(value: Mapping[Any, Any], path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        try:
            name = key_text(key, path)
        except JsonError as error:
            raise TemplateError(str(error)) from None
        if name in found:
            raise TemplateError(f"two keys of a mapping are '{name}' as JSON")
        found[name] = plain(item, f"{path}.{name}" if path else name)
    return found
