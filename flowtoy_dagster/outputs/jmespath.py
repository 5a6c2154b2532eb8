"""The output type `jmespath`: a part of the provider's data."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jmespath.parser

from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.templates.jinja import check_jmespath, search
from flowtoy_dagster.flow.templates.render import is_template
from flowtoy_dagster.outputs.kind import OutputKind
from flowtoy_dagster.providers.base import ENVELOPE
from flowtoy_dagster.providers.kind import ResultView

_LEFT_ONLY = frozenset(
    {"subexpression", "index_expression", "projection", "value_projection", "filter_projection",
     "flatten", "pipe"}
)

_SHOWN_KEYS = 6
_QUOTED = re.compile(r"""[=!<>]=?\s*("[^"]*")(?!\s*[.(\[])""")
"""What stands in double quotes to the right of a comparison: mostly meant as a text."""


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
        return [
            Finding((), f"{found[1]} in double quotes is the name of a key in JMESPath",
                    f"a text is written in single quotes: '{found[1][1:-1]}'", warning=True)
            for found in _QUOTED.finditer(value if isinstance(value, str) else "")
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
        if found is not None or not value:
            return None
        names = _root_names(value)
        data = _root(names, result)
        if result.text_of is not None and not isinstance(data, dict):
            return f"{result.text_of} is not JSON, so '{value}' finds nothing"
        if not isinstance(data, dict) or not data or not names or names & data.keys():
            return None
        return _why_nothing(value, names, data)


def _why_nothing(expression: str, names: Collection[str], data: Mapping[str, Any]) -> str:
    if "result" in names:
        return (
            f"'{expression}' finds nothing: 'result' is a name in templates, and JMESPath begins"
            " in the result"
        )
    shown = ", ".join(f"'{key}'" for key in list(data)[:_SHOWN_KEYS])
    return f"'{expression}' finds nothing: the data has {shown}{', …' * (len(data) > _SHOWN_KEYS)}"


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
