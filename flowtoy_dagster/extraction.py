"""From a provider's result to a step's outputs (language 7)."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jmespath.parser

from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.flow.models import OutputConfig
from flowtoy_dagster.flow.templating import render, search, text
from flowtoy_dagster.providers.base import ProviderResult

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
            names = {"result": _view(provider_type, result), "status": result.status,
                     "meta": dict(result.meta)}
            value = _render_output(output.value or "", {**scope, **names})
    except TemplateError as error:
        raise StepError(f"output '{output.name}': {error.message}") from None
    if not _is_json_already(output, provider_type):
        _refuse_what_json_cannot_hold(output.name, value)
    return value


def _render_output(template: str, scope: Mapping[str, Any]) -> Any:
    value = render(template, scope)
    return value if not isinstance(value, _TextView) else text(value)


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
        own = names & PROCESS_KEYS
        if own:
            data = {**(inner if isinstance(inner, dict) else {}), **data}
        else:
            data = inner if "json" in data else {}
    there = data if isinstance(data, dict) else {}
    wanted = (names & _ENVELOPE) - set(there)
    if not wanted:
        return data
    return {**{name: result.envelope()[name] for name in wanted}, **there}


class _MappingView(Mapping[str, Any]):
    """Data whose absent keys are looked up in `behind`."""

    def __init__(self, data: Mapping[str, Any], *behind: Any) -> None:
        self._data = data
        self._behind = behind

    def __getitem__(self, key: Any) -> Any:
        for place in (self._data, *self._behind):
            try:
                return place[key]
            except (KeyError, TypeError, IndexError):
                continue
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)


class _ListView(list[Any]):
    """A list that has the envelope's names as attributes."""


class _TextView(str):
    """A text that has the envelope's names as attributes."""


def _view(provider_type: str, result: ProviderResult) -> Any:
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
    return data


def _is_json_already(output: OutputConfig, provider_type: str) -> bool:
    if provider_type not in ("rest", "process", "env"):
        return False
    if output.type in ("raw", "json"):
        return True
    return output.type == "jmespath" and "(" not in (output.value or "")


def _refuse_what_json_cannot_hold(name: str, value: Any) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        path, why = next(_unholdable(value, "", set()), ("", str(error)))
        place = f" at {path}" if path else ""
        raise StepError(f"output '{name}'{place}: {why}") from None


def _unholdable(value: Any, path: str, above: set[int]) -> Iterator[tuple[str, str]]:
    """Each place in a value that JSON can't hold, and why."""
    if id(value) in above:
        yield path, "it contains itself"
    elif isinstance(value, dict):
        for key, item in value.items():
            if not (key is None or isinstance(key, (str, int, float, bool))):
                yield path, f"a key of type '{type(key).__name__}' can't be JSON"
            here = f"{path}.{key}" if path else str(key)
            yield from _unholdable(item, here, above | {id(value)})
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _unholdable(item, f"{path}[{index}]", above | {id(value)})
    elif isinstance(value, float) and not math.isfinite(value):
        yield path, f"JSON can't hold the number {value}"
    elif not (value is None or isinstance(value, (str, int, float, bool))):
        yield path, f"JSON can't hold a value of type '{type(value).__name__}'"
