"""Environment variables as data (language 11.1)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from flowtoy_dagster.flow.schema.fields import Name, Strict, Templated
from flowtoy_dagster.flow.templates.names import Names, why_unset
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.kind import ProviderKind


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class EnvConfiguration(Strict):
    """`vars`: the names of the variables.

    Attributes:
        vars: the names of the variables.
    """

    vars: Templated[Annotated[tuple[Templated[Name], ...], BeforeValidator(_one_or_more)]] = ()


class EnvProvider:
    """Gives a mapping of the variables in `vars`; null for what is not set."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.configuration = EnvConfiguration.model_validate(configuration)

    def call(self, input_payload: Any = None) -> dict[str, Any]:
        """Give the variables."""
        data = {name: _value_of(name) for name in self.configuration.vars}
        return ProviderResult(True, 0, data=data).as_returned()


class EnvKind(ProviderKind):
    """The provider type `env`."""

    provider = EnvProvider
    configuration_model = EnvConfiguration
    request_keys = frozenset({"vars"})
    copies_input = False
    reaches_out = False
    gives_json = True

    def describe(self, configuration: Mapping[str, Any]) -> str:
        """The variables' names."""
        listed = ", ".join(_listed(configuration))
        return f"environment variables {listed}" if listed else "no environment variables"

    def source_values(
        self, name: str, configuration: Mapping[str, Any], render: Callable[[Any], Any]
    ) -> Mapping[str, Any]:
        """The listed variables that are set."""
        listed = _listed({"vars": render(configuration.get("vars") or [])})

        def why_missing(variable: str) -> str:
            if variable in listed:
                return why_unset(variable)
            return f"the source '{name}' does not list the variable '{variable}'"

        return Names({var: os.environ[var] for var in listed if var in os.environ}, why_missing)


def _listed(configuration: Mapping[str, Any]) -> list[str]:
    names = configuration.get("vars") or ()
    return [names] if isinstance(names, str) else list(names)


def _value_of(name: str) -> str | None:
    value = os.environ.get(name)
    # What is not UTF-8 is no text that JSON can hold.
    return None if value is None else os.fsencode(value).decode("utf-8", "replace")
