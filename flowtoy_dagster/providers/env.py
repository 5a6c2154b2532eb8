"""Environment variables as data (language 11.1)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator

from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.schema.fields import Name, Strict, Templated
from flowtoy_dagster.providers.base import ProviderResult, render_configuration


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class EnvConfiguration(Strict):
    """`vars`: the names of the variables."""

    vars: Templated[Annotated[tuple[Templated[Name], ...], BeforeValidator(_one_or_more)]] = ()


class EnvProvider:
    """Gives a mapping of the variables in `vars`; null for what is not set."""

    type_name: ClassVar[str] = "env"
    configuration_model: ClassVar[type[Strict]] = EnvConfiguration
    request_keys: ClassVar[frozenset[str]] = frozenset({"vars"})

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.configuration = EnvConfiguration.model_validate(configuration)

    @classmethod
    def missing(cls, configuration: Mapping[str, Any]) -> str | None:
        """What a call would lack, or None."""
        return None

    @classmethod
    def describe(cls, configuration: Mapping[str, Any]) -> str:
        """What is called, in a few words."""
        names = configuration.get("vars") or ()
        return "environment variables " + ", ".join([names] if isinstance(names, str) else names)

    @classmethod
    def warnings(cls, configuration: Mapping[str, Any]) -> list[Finding]:
        """Nothing."""
        return []

    @classmethod
    def render(
        cls, configuration: Mapping[str, Any], context: Mapping[str, Any], payload: Any
    ) -> dict[str, Any]:
        """The configuration with its templates rendered."""
        return render_configuration(configuration, context)

    def call(self, input_payload: Any = None) -> dict[str, Any]:
        """Give the variables."""
        data = {name: _value_of(name) for name in self.configuration.vars}
        return ProviderResult(True, 0, data=data).as_returned()


def _value_of(name: str) -> str | None:
    value = os.environ.get(name)
    # What is not UTF-8 is no text that JSON can hold.
    return None if value is None else os.fsencode(value).decode("utf-8", "replace")
