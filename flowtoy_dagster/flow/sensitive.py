"""The secrets that a flow names: in its configuration, and in the environment."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from flowtoy_dagster.flow.binding import see_params
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.flow.references import TemplateMistake, references, templates_in
from flowtoy_dagster.flow.templating import is_template
from flowtoy_dagster.secrets import Mask, is_secret_variable, secret_values_in, storage_secrets

_SCHEMES = ("bearer ", "basic ", "token ")


class FlowSecrets:
    """What is secret in a flow before a step runs (language 13.1).

    Args:
        flow: its configuration may hold secrets, and names variables that do.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def mask(self, environment: Mapping[str, str]) -> Mask:
        """A mask that hides the flow's secrets, with the variables' values in `environment`."""
        values = {environment[name] for name in self._names if name in environment}
        if self._reads_any_variable:
            values |= {value for name, value in environment.items() if is_secret_variable(name)}
        values |= see_params(self._flow, environment).secrets
        return self._written.including(values | storage_secrets(environment))

    @functools.cached_property
    def _config(self) -> Mapping[str, Any]:
        """The configuration without what is said of parameters, which know their secrets."""
        return {k: v for k, v in self._flow.config.items() if k not in ("params", "schedule")}

    @functools.cached_property
    def _written(self) -> Mask:
        written = {value for value in secret_values_in(self._config) if not is_template(value)}
        credentials = {
            value.split(" ", 1)[1] for value in written if value.lower().startswith(_SCHEMES)
        }
        return Mask(written | credentials)

    @functools.cached_property
    def _names(self) -> frozenset[str]:
        mentioned = {name for name in self._variables if name is not None}
        for mapping in _mappings(self._config):
            names = mapping.get("vars")
            listed = [names] if isinstance(names, str) else names or []
            mentioned |= {name for name in listed if isinstance(name, str)}
        return frozenset(filter(is_secret_variable, mentioned))

    @property
    def _reads_any_variable(self) -> bool:
        return None in self._variables

    @functools.cached_property
    def _variables(self) -> frozenset[str | None]:
        """The variables that templates read; None stands for any."""
        found: set[str | None] = set()
        for _, template in templates_in(self._flow.config):
            with contextlib.suppress(TemplateMistake):
                found |= {r.step for r in references(template) if r.root == "env"}
        return frozenset(found)


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for item in value.values():
            yield from _mappings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _mappings(item)


def secret_outputs(flow: Flow, step: str) -> frozenset[str]:
    """The names of a step's outputs that are marked secret."""
    return frozenset(output.name for output in flow.step(step).outputs if output.secret)
