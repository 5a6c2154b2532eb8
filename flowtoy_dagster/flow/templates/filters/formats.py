"""Python's formats, where what is no number and no text is printed as a template prints it.

`'%s' % x`, `'{}'.format(x)` and the filter `format` write null, true, false, lists and mappings by
language 6.2. `%r`, `%a`, `{!r}` and `{!a}` ask for Python's own form, and get it.
"""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Callable, Mapping
from typing import Any

from jinja2.sandbox import SandboxedEnvironment, SandboxedFormatter

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.templates import bounds
from flowtoy_dagster.flow.templates.values import text

_OF_TEXTS = re.compile(r"(?:.?[<^>])?\d*(?:\.\d+)?s?", re.DOTALL)
"""What a text can be formatted by: how it is aligned, how wide it is, where it is cut."""


class _Printed:
    """A value that Python's formats print as a template prints it."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self._text = text(value)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return repr(self._value)

    def __index__(self) -> int:
        return int(self._value)

    def __float__(self) -> float:
        return float(self._value)


def percent(form: str, values: Any) -> str:
    """What `form % values` gives.

    Args:
        form: a text with places (`%s`, `%(name)s`).
        values: one value, a mapping for places with names, or a tuple of values.

    Raises:
        TemplateError: the text would be too long.
        TypeError, ValueError: a value or a place is not right; Python says which.
    """
    printed = _printed(values)
    bounds.check_percent(form, _texts(printed if isinstance(printed, tuple) else (printed,)))
    try:
        filled: str = form % printed
    except (TypeError, ValueError):
        filled = form % values  # what Python says of these names their types
    return filled


def _printed(values: Any) -> Any:
    if isinstance(values, tuple):
        return tuple(map(_one_printed, values))
    if isinstance(values, Mapping):
        return _PrintedMapping(values)
    return _one_printed(values)


def _one_printed(value: Any) -> Any:
    return value if _is_formatted_by_python(value) else _Printed(value)


def _is_formatted_by_python(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _texts(printed: tuple[Any, ...]) -> list[Any]:
    """The same values, those that are printed as texts."""
    if len(printed) == 1 and isinstance(printed[0], _PrintedMapping):
        keys, values = printed[0].keys(), _texts(tuple(printed[0].values()))
        return [dict(zip(keys, values, strict=True))]
    return [str(one) if isinstance(one, _Printed) else one for one in printed]


class _PrintedMapping(dict[str, Any]):
    """The values that places with names ask for; it may be a value itself."""

    def __init__(self, values: Mapping[Any, Any]) -> None:
        super().__init__({key: _one_printed(value) for key, value in values.items()})
        self._whole = values

    def __str__(self) -> str:
        return text(self._whole)

    def __repr__(self) -> str:
        return repr(self._whole)


def format_filter(value: Any, /, *args: Any, **kwargs: Any) -> str:
    """The filter `format`: places such as `%s` are filled."""
    if args and kwargs:
        raise TemplateError("format: either all values have names, or none has")
    return percent(value if isinstance(value, str) else text(value), kwargs or args)


def filling(
    environment: SandboxedEnvironment, method: types.BuiltinMethodType
) -> Callable[..., str]:
    """What stands for the method `format` or `format_map` of a text."""
    form: str = method.__self__  # type: ignore[assignment]

    def fill(*args: Any, **named: Any) -> str:
        return _Formatter(environment).vformat(form, args, named)

    def fill_from(values: Any, /) -> str:
        return _Formatter(environment).vformat(form, (), values)

    return functools.update_wrapper(fill_from if method.__name__ == "format_map" else fill, method)


class _Formatter(SandboxedFormatter):
    """What fills the places of `'{}'.format(x)`."""

    def __init__(self, environment: SandboxedEnvironment) -> None:
        super().__init__(environment)
        self._length = 0

    def format_field(self, value: Any, format_spec: str) -> str:
        """The text of one place, which counts towards the bound of them all."""
        if not _is_formatted_by_python(value) and _OF_TEXTS.fullmatch(format_spec):
            value = text(value)
        formatted = str(super().format_field(value, format_spec))
        self._length += len(formatted)
        bounds.check_length(self._length)
        return formatted

    def convert_field(self, value: Any, conversion: Any) -> Any:
        """A value as a place asks for it: `!s` is the text that a template prints."""
        return text(value) if conversion == "s" else super().convert_field(value, conversion)
