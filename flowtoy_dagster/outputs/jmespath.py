"""The output type `jmespath`: a part of the provider's data."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jmespath.parser

from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.files.suggestions import nearest
from flowtoy_dagster.flow.templates.jinja import check_jmespath, search
from flowtoy_dagster.flow.templates.jmespath_runtime import FUNCTIONS
from flowtoy_dagster.flow.templates.names import ROOTS
from flowtoy_dagster.flow.templates.render import is_template
from flowtoy_dagster.flow.templates.words.jmespath_words import without_quoted
from flowtoy_dagster.outputs.kind import OutputKind
from flowtoy_dagster.outputs.nothing_found import listed, missing_key
from flowtoy_dagster.providers.base import ENVELOPE
from flowtoy_dagster.providers.kind import ResultView

_LEFT_ONLY = frozenset(
    {"subexpression", "index_expression", "projection", "value_projection", "filter_projection",
     "flatten", "pipe"}
)

_QUOTED = re.compile(r"""[=!<>]=?\s*("[^"]*")(?!\s*[.(\[])""")
"""What stands in double quotes to the right of a comparison: mostly meant as a text."""
_WORD = re.compile(r"[=!<>]=?\s*(true|false|null)\b(?!\s*[.(\[])")
"""A literal of JSON without backticks, which is the name of a key."""
_LITERAL = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`((?:[^`\\]|\\.)*)`""")
"""What is in quotes or, as its group, in backticks."""
_MEANT_AS_JSON = re.compile(
    r"\s*(?:['\"\[{].*|[-+]?[\d.,_]+(?:e[-+]?\d+)?|true|false|null|none|nan|[-+]?inf(?:inity)?)\s*",
    re.IGNORECASE | re.DOTALL,
)
"""In backticks, what is hardly meant as a text."""
_PIPED = re.compile(r"(?<!\|)\|\s*([a-z_]+)\s*(?=$|\|(?!\|))")
"""A name after a pipe: mostly meant as a filter, as templates have them."""


class JmespathOutput(OutputKind):
    """What an expression finds; the type of an output whose `value` is no template."""

    def fits(self, value: Any) -> bool:
        """Where there is a value that is no template."""
        return value is not None and not (isinstance(value, str) and "{{" in value)

    def check(self, value: Any) -> list[Finding]:
        """Expressions that can't be parsed."""
        try:
            check_jmespath(value)
        except ValueError as error:
            hint = "for a template write 'type: template'" if is_template(value) else None
            return [Finding((), str(error), hint)]
        if not isinstance(value, str):
            return []
        return [
            *_looks_like_another_language(value),
            *_literals_that_are_texts(value),
            *(Finding((), f"{found[1]} in double quotes is the name of a key in JMESPath",
                      f"a text is written in single quotes: '{found[1][1:-1]}'", warning=True)
              for found in _QUOTED.finditer(value)),
        ]

    def gives_json(self, value: Any) -> bool:
        """Where no function makes anything."""
        return not set("(&") & set(value or "")

    def extract(self, value: Any, result: ResultView, scope: Mapping[str, Any]) -> Any:
        """What the expression finds."""
        expression = value or ""
        return search(expression, _root(_root_names(expression), result))

    def doubt(self, value: Any, result: ResultView, found: Any) -> str | None:
        """That the names that the expression begins with are not in the data."""
        if found not in (None, []) or not value:
            return None
        names = _root_names(value)
        data = _root(names, result)
        if result.text_of is not None and not isinstance(data, dict):
            return f"{result.text_of} is not JSON, so '{value}' finds nothing"
        is_elsewhere = isinstance(data, dict) and data and names and not names & data.keys()
        if is_elsewhere and found is None:
            return _why_nothing(value, names, data)
        told = missing_key(jmespath.parser.Parser().parse(value).parsed, data)
        return None if told is None else f"'{value}' finds nothing: {told}"


def _looks_like_another_language(expression: str) -> Iterator[Finding]:
    """What is a key's name to JMESPath, and is something else in languages like it."""
    plain = without_quoted(expression)
    for found in _WORD.finditer(plain):
        word = found[1]
        yield Finding((), f"{word} without backticks is the name of a key in JMESPath",
                      f"write `{word}`", warning=True)
    for found in _PIPED.finditer(plain):
        if found[1] in FUNCTIONS:
            yield Finding((), f"'{found[1]}' after '|' is the name of a key in JMESPath",
                          f"the function is written {found[1]}(@)", warning=True)


def _literals_that_are_texts(expression: str) -> Iterator[Finding]:
    """What stands in backticks, is no JSON, and so is a text: its quotes and brackets too."""
    for found in _LITERAL.finditer(expression):
        literal = (found[1] or "").replace("\\`", "`")
        if not _MEANT_AS_JSON.fullmatch(literal):
            continue
        try:
            json.loads(literal)
        except ValueError:
            meant = literal.strip().strip("'\"")
            yield Finding((), f"{found[0]} is a text in JMESPath: what is in backticks is no JSON",
                          f"a text is written '{meant}'; JSON has `true`, `null`, `1.5`, `\"a\"`",
                          warning=True)


def _why_nothing(expression: str, names: Collection[str], data: Mapping[str, Any]) -> str:
    if "result" in names:
        return (
            f"'{expression}' finds nothing: 'result' is a name in templates, and JMESPath begins"
            f" in the result{_without_result(expression)}"
        )
    is_plain = len(names) == 1 and not set(names) & set(ROOTS)
    found = nearest(min(names), data).question if is_plain else None
    advice = f"; {found}" if found else ""
    return f"'{expression}' finds nothing: the data has {listed(list(data))}{advice}"


def _without_result(expression: str) -> str:
    rest = expression.removeprefix("result.")
    is_path = rest != expression and re.fullmatch(r"(data\.)?([\w.\[\]*]+)", rest)
    return f": write '{is_path[2]}'" if is_path else ""


@functools.lru_cache(maxsize=1024)
def _root_names(expression: str) -> frozenset[str]:
    """The names that an expression looks up in what it is given."""
    tree = jmespath.parser.Parser().parse(expression).parsed
    return frozenset(_leading(tree))


def _leading(node: Mapping[str, Any]) -> Iterator[str]:
    if node["type"] == "field":
        yield node["value"]
        return
    children = node.get("children", ())
    for child in children[:1] if node["type"] in _LEFT_ONLY else children:
        if isinstance(child, dict) and child.get("type") != "expref":
            yield from _leading(child)


def _root(names: frozenset[str], view: ResultView) -> Any:
    """What an expression is applied to."""
    data = view.content
    if names & view.own_names:
        data = {**(data if isinstance(data, dict) else {}), **view.result.data}
    there = data if isinstance(data, dict) else {}
    wanted = (names & ENVELOPE) - set(there)
    if not wanted:
        return data
    envelope = view.result.envelope()
    return {**{name: envelope[name] for name in wanted}, **there}
