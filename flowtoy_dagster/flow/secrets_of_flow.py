"""The secrets that a flow names: in its configuration, and in the environment."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.flow.param_values import see_params
from flowtoy_dagster.flow.templates.references import TemplateMistake, references, templates_in
from flowtoy_dagster.flow.templates.render import is_template
from flowtoy_dagster.masking.mask import Mask, deployment_secrets, secret_values_in

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ALL_VARIABLES = frozenset({"env", "printenv", "environ", "export", "declare", "typeset"})
"""Words of a command that may print every variable."""
_OWN_WORDS = ("type", "source", "base", "name", "description", "executor")


class FlowSecrets:
    """What is secret in a flow before a step runs (language 13.1).

    Args:
        flow: its configuration may hold secrets, and names variables that do.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def mask(self, environment: Mapping[str, str]) -> Mask:
        """A mask that hides the flow's secrets, with the variables' values in `environment`."""
        values: set[str] = set()
        for name in environment:
            if name in self._mentioned or self._reads_any_variable:
                values |= set(secret_values_in({name: environment[name]}))
        params = see_params(self._flow, environment)
        values |= self._written | params.secrets | deployment_secrets(environment)
        return Mask(values, params.public)

    @functools.cached_property
    def variables(self) -> frozenset[str]:
        """The names of the variables that its templates and its `env` sources read, as written."""
        found: set[str] = set()
        for template in self._templates:
            with contextlib.suppress(TemplateMistake):
                found |= {r.step for r in references(template) if r.root == "env" and r.step}
        for mapping in _mappings(self._config):
            found |= {name for name in _listed(mapping.get("vars")) if isinstance(name, str)}
        return frozenset(found)

    @functools.cached_property
    def _templates(self) -> list[str]:
        conditions = [step.when for step in self._flow.steps if step.when is not None]
        conditions += [step.until.condition for step in self._flow.steps if step.until is not None]
        return [*(text for _, text in templates_in(self._flow.config)), *conditions]

    @functools.cached_property
    def _config(self) -> list[Any]:
        """The parts of the configuration that may hold secrets.

        The names of sources and steps make nothing secret; parameters know by themselves.
        """
        config = self._flow.config
        sources = config.get("sources")
        named = list(sources.values()) if isinstance(sources, Mapping) else []
        others = [v for k, v in config.items() if k not in ("params", "schedule", "sources")]
        return [*named, *others]

    @functools.cached_property
    def _written(self) -> frozenset[str]:
        return frozenset(v for v in secret_values_in(self._config) if not is_template(v))

    @functools.cached_property
    def _mentioned(self) -> frozenset[str]:
        """Everything that may be the name of a variable: in templates, commands and scripts."""
        return frozenset(
            word for text in _texts(self._config) for word in _WORD.findall(text)
        )

    @functools.cached_property
    def _reads_any_variable(self) -> bool:
        """Whether variables may be read whose names the configuration does not hold."""
        if self._prints_variables:
            return True
        for mapping in _mappings(self._config):
            names = mapping.get("vars")
            if any(is_template(name) for name in _listed(names)):
                return True
        for template in self._templates:
            with contextlib.suppress(TemplateMistake):
                if any(r.root == "env" and r.step is None for r in references(template)):
                    return True
        return False

    @functools.cached_property
    def _prints_variables(self) -> bool:
        """Whether a text that is no template for `env` names what prints every variable."""
        texts = (text for text in _texts(self._config) if not is_template(text))
        return any(_ALL_VARIABLES & set(_WORD.findall(text)) for text in texts)


def _listed(names: Any) -> list[Any]:
    return list(names) if isinstance(names, (list, tuple)) else [names]


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for item in value.values():
            yield from _mappings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _mappings(item)


def _texts(value: Any) -> Iterator[str]:
    """The texts of a configuration that a step may read, but for the language's own words."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key not in _OWN_WORDS or not isinstance(item, str):
                yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def secret_outputs(flow: Flow, step: str) -> frozenset[str]:
    """The names of a step's outputs that are secret as a whole."""
    return frozenset(output.name for output in flow.step(step).outputs if output.is_secret)
