"""The output type `template`: what a template makes of a result."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from jinja2 import nodes

from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.files.suggestions import nearest
from flowtoy_dagster.flow.templates.names import Names
from flowtoy_dagster.flow.templates.render import parse, render
from flowtoy_dagster.outputs.kind import OutputKind
from flowtoy_dagster.providers.base import ENVELOPE, meta_view
from flowtoy_dagster.providers.kind import ResultView


class TemplateOutput(OutputKind):
    """What a template gives; the type of an output whose `value` is one."""

    template_names = ("result", "status", "meta")

    def fits(self, value: Any) -> bool:
        """Where the value is a template with an expression."""
        return isinstance(value, str) and "{{" in value

    def templates(self, value: Any) -> Iterable[tuple[KeyPath, str]]:
        """The value, whatever is in it."""
        return [((), value or "")]

    def extract(self, value: Any, result: ResultView, scope: Mapping[str, Any]) -> Any:
        """What the template gives."""
        template = value or ""
        names = {
            "result": _view(template, result),
            "status": result.result.status,
            "meta": meta_view(result.result.meta),
        }
        return render(template, {**scope, **names})


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

    __slots__ = tuple(ENVELOPE)


def _view(template: str, view: ResultView) -> Any:
    """`result` as a template sees it."""
    data, envelope = view.result.data, view.result.envelope()
    if isinstance(data, dict):
        return _MappingView(data, view.content if view.own_names else None, envelope)
    if isinstance(data, (list, str)):
        seen = _ListView(data) if isinstance(data, list) else _TextView(data)
        for name in ENVELOPE:
            setattr(seen, name, envelope[name])
        return seen
    # A number or null can't have the envelope's names besides its value.
    return _MappingView({}, envelope) if _looks_into_result(template) else data


@functools.lru_cache(maxsize=1024)
def _looks_into_result(template: str) -> bool:
    return any(
        isinstance(node, (nodes.Getattr, nodes.Getitem))
        and isinstance(node.node, nodes.Name)
        and node.node.name == "result"
        for node in parse(template).find_all(nodes.Expr)
    )
