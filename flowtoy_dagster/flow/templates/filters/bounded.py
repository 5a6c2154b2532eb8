"""Jinja2's filters that could make too much, within bounds (language 6.1)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from jinja2.utils import generate_lorem_ipsum

from flowtoy_dagster.flow.templates import bounds


def within_bounds(filters: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Those of Jinja2's filters whose results can be too large: they raise TemplateError then."""
    return {name: _bounded(filters[name], check) for name, check in _CHECKS.items()}


def _bounded(function: Callable[..., Any], check: Callable[..., None]) -> Callable[..., Any]:
    @functools.wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        check(*args, **kwargs)
        return function(*args, **kwargs)

    return bounded


def _check_padding(*args: Any, **kwargs: Any) -> None:
    bounds.check_widths([*args, *kwargs.values()])


def _check_indent(text: Any, width: Any = 4, *_: Any, **named: Any) -> None:
    width = named.get("width", width)
    size = width if isinstance(width, int) else len(str(width))
    bounds.check_length(size * (str(text).count("\n") + 1))


def _check_wrapping(
    _: Any, text: Any, width: Any = 79, break_long_words: Any = True, wrapstring: Any = None,
    *__: Any, **___: Any,
) -> None:  # fmt: skip
    lines = len(str(text)) // max(int(width), 1) + str(text).count("\n") + str(text).count(" ")
    bounds.check_length(lines * len(str(wrapstring or "")))


def _check_replacement(_: Any, text: Any, old: Any, new: Any, *__: Any, **___: Any) -> None:
    bounds.check_replacement(str(text), str(old), str(new))


def lipsum(n: int = 5, html: bool = True, min: int = 20, max: int = 100) -> str:  # noqa: A002
    """Jinja2's function `lipsum`, with its arguments."""
    # A word of it has at most 16 characters, with what separates it from the next.
    bounds.check_length(n * max * 16)
    return generate_lorem_ipsum(n, html, min, max)


_CHECKS: dict[str, Callable[..., None]] = {
    "batch": _check_padding,
    "center": _check_padding,
    "indent": _check_indent,
    "replace": _check_replacement,
    "slice": _check_padding,
    "wordwrap": _check_wrapping,
}
