"""What the names in a step's templates stand for (language 6.3)."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.graph import Source
from flowtoy_dagster.flow.param_values import SeenParams
from flowtoy_dagster.flow.templates.names import (
    FLOW,
    RUN_WORDS,
    Names,
    SkippedNeed,
    expression,
    why_unset,
)
from flowtoy_dagster.flow.templates.render import render_all
from flowtoy_dagster.providers.base import meta_view
from flowtoy_dagster.providers.kinds import kind_of
from flowtoy_dagster.steps.state.flow_folder import FlowFolder


class Upstream(Protocol):
    """A step that ran before, as its dependents see it; what is large is read when it is asked."""

    @property
    def state(self) -> str:
        """`succeeded`, `failed` or `skipped`."""

    @property
    def error(self) -> str | None:
        """Why it failed or was skipped."""

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Its outputs; empty where it did not succeed."""

    @property
    def result(self) -> Mapping[str, Any]:
        """`success`, `code`, `notes`, `data`, `meta`; empty where it never ran."""

    @property
    def counts(self) -> Mapping[str, int] | None:
        """How many of its items have ended how; None where it is not repeated."""

    @property
    def items(self) -> list[dict[str, Any]]:
        """What became of each item; empty where it is not repeated."""


@dataclass(frozen=True)
class RunInfo:
    """The run that a step belongs to.

    Attributes:
        started_at: gives the seconds since 1970; asked only where a template wants it.
        params: the values of the flow's parameters.
        root_id: the first of the runs of which it is a retry; its own where it is none.
        ended: what templates know of a run that has ended, besides its id, name and start.
        failed: gives the names of the steps that have failed so far.
        state: gives `succeeded`, `failed` or `cancelled`: the state of the run so far.
        folder: where the flow is.
    """

    id: str
    name: str
    started_at: Callable[[], float]
    params: SeenParams = field(default_factory=SeenParams)
    root_id: str = ""
    ended: Mapping[str, Any] = field(default_factory=dict)
    failed: Callable[[], list[str]] = list
    state: Callable[[], str] = lambda: "succeeded"
    folder: FlowFolder = field(default_factory=FlowFolder)


def build_scope(
    upstream: Mapping[str, Upstream], sources: Mapping[str, Source], run: RunInfo
) -> dict[str, Any]:
    """The context with which the templates of one step are rendered."""
    scope: dict[str, Any] = {
        "flows": Names(upstream, _why_no_step, _outputs),
        "steps": Names(upstream, _why_no_step, _facts),
        "params": Names(run.params.values, run.params.why_missing),
        "env": Names(os.environ, why_unset),
        "run": Names(
            {
                **dict.fromkeys(RUN_WORDS), "id": run.id, "name": run.name, **run.ended,
            },
            lambda name: f"'run' has no '{name}': it has {_listed_names(run)}",
            lambda name, value: _run_fact(run, name, value),
        ),
        FLOW: Names(
            {"dir": None},
            lambda name: f"'{FLOW}' has no '{name}': it has 'dir'",
            lambda name, value: run.folder.dir(),
        ),
    }
    scope["sources"] = _SourceNames(sources, scope)
    return scope


def with_names(scope: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """A scope with more names in it, to be used by one thread.

    Args:
        scope: what `build_scope` has made.
        names: what they stand for.
    """
    more = {**scope, **names}
    sources = scope.get("sources")
    if isinstance(sources, _SourceNames):
        more["sources"] = sources.within(more)
    return more


def _listed_names(run: RunInfo) -> str:
    *others, last = dict.fromkeys([*RUN_WORDS, *run.ended])
    return f"{', '.join(others)} and {last}"


def _run_fact(run: RunInfo, name: str, value: Any) -> Any:
    if name == "started_at":
        return utc(run.started_at())
    if name in run.ended:
        return value
    if name == "failed":
        return run.failed()
    return run.state() if name == "state" else value


def utc(seconds: float) -> str:
    """A moment, given in seconds since 1970, as ISO 8601 in UTC."""
    moment = dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
    return moment.isoformat(timespec="milliseconds")


def _why_no_step(name: str) -> str:
    return f"no step '{name}' has run before this one"


def _outputs(name: str, step: Upstream) -> Names:
    def why(output: str) -> str:
        if step.state == "succeeded":
            return f"the step '{name}' has no output '{output}'"
        if step.state == "skipped":
            return _needs(expression("flows", name, output), name)
        reason = f": {step.error}" if step.error else ""
        return f"flows.{name}.{output} is missing: the step '{name}' was not successful{reason}"

    return Names(step.outputs, why)


def _needs(what: str, name: str) -> str:
    return SkippedNeed(f"needs `{what}`, and '{name}' was skipped")


def _facts(name: str, step: Upstream) -> Names:
    facts = {"state": None, "error": None, "outputs": None, "result": None}
    if getattr(step, "counts", None) is not None:
        facts |= {"items": None, "counts": None}

    def load(fact: str, _: Any) -> Any:
        if fact == "outputs":
            return _outputs(name, step)
        if fact == "result":
            return Names(
                step.result,
                lambda key: _needs(expression("steps", name, "result", key), name)
                if step.state == "skipped"
                else f"the result of step '{name}' has no '{key}'",
                lambda key, value: meta_view(value) if key == "meta" and value else value,
            )
        return getattr(step, fact)

    return Names(facts, lambda fact: f"a step has no '{fact}'", load)


class _SourceNames(Names):
    """Sources by name; their configuration is rendered when a template looks at it."""

    def __init__(self, sources: Mapping[str, Source], scope: Mapping[str, Any]) -> None:
        super().__init__(sources, lambda name: f"there is no source '{name}'", self._open)
        self._sources = sources
        self._scope = scope
        self._opening: list[str] = []

    def within(self, scope: Mapping[str, Any]) -> _SourceNames:
        """The same sources, seen from another scope."""
        return _SourceNames(self._sources, scope)

    def _open(self, name: str, source: Source) -> Mapping[str, Any]:
        own = kind_of(source).source_values(
            name, source.configuration, lambda value: self._rendered(name, value)
        )
        if own is not None:
            return own
        values = {**source.configuration, "type": None, "configuration": None}

        def load(key: str, value: Any) -> Any:
            if key == "type":
                return source.type
            return self._rendered(name, source.configuration if key == "configuration" else value)

        return Names(values, lambda key: f"the source '{name}' has no '{key}'", load)

    def _rendered(self, name: str, value: Any) -> Any:
        if name in self._opening:
            trail = " -> ".join([*self._opening, name])
            raise TemplateError(f"sources refer to each other in a circle: {trail}")
        self._opening.append(name)
        try:
            return render_all(value, self._scope)
        finally:
            self._opening.pop()
