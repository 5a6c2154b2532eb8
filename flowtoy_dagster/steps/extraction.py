"""From a provider's result to a step's outputs (language 7)."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jmespath.parser
from jinja2 import nodes

from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.flow.files.suggestions import nearest
from flowtoy_dagster.flow.schema.models import OutputConfig
from flowtoy_dagster.flow.templates.jinja import search
from flowtoy_dagster.flow.templates.names import Names
from flowtoy_dagster.flow.templates.render import parse, render
from flowtoy_dagster.json_text import JsonError, dumps
from flowtoy_dagster.providers.base import ProviderResult, meta_view

PROCESS_KEYS = frozenset({"stdout", "stderr", "returncode", "json"})
_ENVELOPE = frozenset({"success", "code", "notes", "data", "meta", "status"})
_LEFT_ONLY = frozenset(
    {"subexpression", "index_expression", "projection", "value_projection", "filter_projection",
     "flatten", "pipe"}
)


def extract(
    output: OutputConfig, provider_type: str, result: ProviderResult, scope: Mapping[str, Any]
) -> Any:
    """The value of one output.

    Args:
        output: as written.
        provider_type: `process` results have names of their own.
        result: what the provider gave.
        scope: what the names of template outputs stand for.

    Raises:
        StepError: it can't be had, or JSON can't hold it; names the output.
    """
    try:
        if output.type == "raw":
            value = result.data
        elif output.type == "json":
            value = _json_data(provider_type, result.data)
        elif output.type == "jmespath":
            expression = output.value or ""
            value = search(expression, _root(expression, provider_type, result))
        else:
            template = output.value or ""
            names = {
                "result": _view(template, provider_type, result),
                "status": result.status,
                "meta": meta_view(result.meta),
            }
            value = render(template, {**scope, **names})
    except TemplateError as error:
        raise StepError(f"output '{output.name}': {error.message}") from None
    if not _is_json_already(output, provider_type):
        _refuse_what_json_cannot_hold(output.name, value)
    return value


def _json_data(provider_type: str, data: Any) -> Any:
    if provider_type == "process" and isinstance(data, dict) and "stdout" in data:
        return data.get("json", data["stdout"])
    return data


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


def _root(expression: str, provider_type: str, result: ProviderResult) -> Any:
    """What an expression is applied to."""
    names = _root_names(expression)
    data = result.data
    if provider_type == "process" and isinstance(data, dict) and "stdout" in data:
        inner = data.get("json")
        both = {**(inner if isinstance(inner, dict) else {}), **data}
        data = both if names & PROCESS_KEYS else inner
    there = data if isinstance(data, dict) else {}
    wanted = (names & _ENVELOPE) - set(there)
    if not wanted:
        return data
    return {**{name: result.envelope()[name] for name in wanted}, **there}


class _MappingView(Names):
    """Data whose absent keys are looked up in `behind`."""

    def __init__(self, data: Mapping[str, Any], *behind: Any) -> None:
        super().__init__(data, self._why_not)
        self._behind = [place for place in behind if isinstance(place, Mapping)]

    def __getitem__(self, key: Any) -> Any:
        for place in (self._values, *self._behind):
            if key in place:
                return place[key]
        raise KeyError(key)

    def _why_not(self, name: str) -> str:
        names = [key for place in (self._values, *self._behind) for key in place]
        return f"the result has no '{name}'; {nearest(name, map(str, names)).hint}"


class _ListView(list[Any]):
    """A list that has the envelope's names as attributes."""


class _TextView(str):
    """A text that has the envelope's names as attributes."""

    __slots__ = tuple(_ENVELOPE)


def _view(template: str, provider_type: str, result: ProviderResult) -> Any:
    """`result` as a template sees it."""
    data, envelope = result.data, result.envelope()
    if isinstance(data, dict):
        inner = data.get("json") if provider_type == "process" else None
        return _MappingView(data, inner, envelope)
    if isinstance(data, (list, str)):
        view = _ListView(data) if isinstance(data, list) else _TextView(data)
        for name in _ENVELOPE:
            setattr(view, name, envelope[name])
        return view
    # A number or null can't have the envelope's names beside its value.
    return _MappingView({}, envelope) if _looks_into_result(template) else data


@functools.lru_cache(maxsize=1024)
def _looks_into_result(template: str) -> bool:
    return any(
        isinstance(node, (nodes.Getattr, nodes.Getitem))
        and isinstance(node.node, nodes.Name)
        and node.node.name == "result"
        for node in parse(template).find_all(nodes.Expr)
    )


def _is_json_already(output: OutputConfig, provider_type: str) -> bool:
    if provider_type not in ("rest", "process", "env"):
        return False
    if output.type in ("raw", "json"):
        return True
    return output.type == "jmespath" and not set("(&") & set(output.value or "")


def _refuse_what_json_cannot_hold(name: str, value: Any) -> None:
    try:
        dumps(value)
    except JsonError as error:
        place = f" at {error.path}" if error.path else ""
        raise StepError(f"output '{name}'{place}: {error.why}") from None
