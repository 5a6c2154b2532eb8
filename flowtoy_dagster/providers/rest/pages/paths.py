"""Paths into an answer: JMESPath, with the JSONPath that people may write instead rejected."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from jmespath import lexer
from pydantic import AfterValidator, BeforeValidator

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.schema.fields import Misplaced
from flowtoy_dagster.flow.templates.jinja import check_jmespath, search
from flowtoy_dagster.flow.templates.render import is_template

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PART = re.compile(
    r"\$|\.?\[\s*(?P<number>-?\d+|\*)\s*\]|\.?\[\s*(?P<quote>['\"])(?P<quoted>[^'\"]*)(?P=quote)\s*\]"
    r"|\.(?P<star>\*)|\.?(?P<name>[^.\[\]$'\"*\s]+)"
)
_BEFORE_AN_INDEX = frozenset(
    {"unquoted_identifier", "quoted_identifier", "rbracket", "flatten", "dot", "current", "star"}
)


class PageError(Exception):
    """What a page holds is not what the paginator or the selector needs; says why."""


def _check_path(path: str) -> str:
    if is_template(path):
        raise ValueError(f"expected a JMESPath expression, got {show(path)}")
    if path.lstrip().startswith("$") or _has_quoted_index(path):
        raise Misplaced(f"'{path}' is not JMESPath", (), _instead(path), at_key=False)
    check_jmespath(path)
    return path


def _as_text(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected a JMESPath expression, got {show(value)}")
    return value.strip()


JmesPath = Annotated[str, BeforeValidator(_as_text), AfterValidator(_check_path)]
"""Where something is in an answer (language 21.4)."""


def _check_place(path: str) -> str:
    _check_path(path)
    if not all(kind in ("unquoted_identifier", "quoted_identifier", "dot", "eof")
               for kind, _ in _tokens(path)):
        raise ValueError(f"expected the names of keys with dots between, got {show(path)}")
    return path


BodyPath = Annotated[str, BeforeValidator(_as_text), AfterValidator(_check_place)]
"""Where something is put into a JSON body: names with dots between."""


def _tokens(path: str) -> Iterator[tuple[str, Any]]:
    for token in lexer.Lexer().tokenize(path):
        yield token["type"], token["value"]


def _has_quoted_index(path: str) -> bool:
    """Whether `['name']` is used as a key, as in JSONPath; in JMESPath it is a list of a text."""
    try:
        kinds = [kind for kind, _ in _tokens(path)]
    except ValueError:  # of JMESPath, or of Python where a number is too long
        return False
    return any(
        kinds[at] == "lbracket"
        and kinds[at + 1] in ("literal", "quoted_identifier")
        and kinds[at + 2] == "rbracket"
        and (at == 0 or kinds[at - 1] in _BEFORE_AN_INDEX)
        for at in range(len(kinds) - 2)
    )


def _instead(path: str) -> str:
    """What to write instead of a JSONPath."""
    written, at = "", 0
    text = path.strip()
    while at < len(text):
        found = _PART.match(text, at)
        if found is None:
            return "paths are JMESPath: keys with dots between, as in data.items"
        name = found["quoted"] if found["quoted"] is not None else found["name"]
        if name is not None:
            plain = name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '\\"') + '"'
            written += f".{plain}" if written else plain
        elif found["number"]:
            written += f"[{found['number']}]"
        elif found["star"]:
            written += ".*" if written else "*"
        at = found.end()
    return f"write {written.removesuffix('[*]') or '@'}"


def find(path: str, data: Any, key: str) -> Any:
    """What a path finds in a page.

    Args:
        path: JMESPath.
        data: the page.
        key: the key of the configuration that holds the path, for errors.

    Raises:
        PageError: it can't be applied to this page.
    """
    try:
        return search(path, data)
    except TemplateError as error:
        raise PageError(f"'{key}': {error.message}") from None


def keys_of(data: Any) -> str:
    """What a page is, for an error."""
    if isinstance(data, Mapping):
        names = ", ".join(f"'{key}'" for key in list(data)[:12])
        return f"the page's keys are {names or 'none'}{', …' if len(data) > 12 else ''}"
    if data is None or data == "":
        return "the page is empty"
    return f"the page is {show(data) if not isinstance(data, str) else 'text'}"


def put(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A JSON body with a value at a `BodyPath`; the body that is given stays as it is.

    Raises:
        PageError: on the way is something else than a mapping.
    """
    names = [str(value) for kind, value in _tokens(path) if kind.endswith("identifier")]
    changed = within = dict(body)
    for name in names[:-1]:
        inner = within.get(name)
        if inner is not None and not isinstance(inner, Mapping):
            raise PageError(f"'{path}' can't be set in the body: '{name}' is {show(inner)}")
        within[name] = dict(inner or {})
        within = within[name]
    within[names[-1]] = value
    return changed
