"""Which providers there are: the built-in three, and those under `flowtoy.providers`."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Collection, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel, ValidationError

from flowtoy_dagster.flow.catalog import Finding
from flowtoy_dagster.flow.draft import explain
from flowtoy_dagster.flow.fields import STATIC
from flowtoy_dagster.flow.graph import Source
from flowtoy_dagster.flow.models import SOURCE_KEYS
from flowtoy_dagster.flow.suggestions import nearest
from flowtoy_dagster.providers.base import BuiltinProvider, ProviderClass

ENTRY_POINT_GROUP = "flowtoy.providers"
_BUILTIN = {
    "rest": ("flowtoy_dagster.providers.rest", "RestProvider"),
    "process": ("flowtoy_dagster.providers.process", "ProcessProvider"),
    "env": ("flowtoy_dagster.providers.env", "EnvProvider"),
}


class ProviderUnavailable(Exception):  # noqa: N818 - what it is
    """A provider that is installed but fails to import."""


@functools.cache
def _installed() -> dict[str, EntryPoint]:
    found = entry_points(group=ENTRY_POINT_GROUP)
    return {point.name: point for point in found if point.name not in _BUILTIN}


@functools.cache
def builtin(type_name: str) -> type[BuiltinProvider] | None:
    """A built-in provider's class, or None for the types of others."""
    if type_name not in _BUILTIN:
        return None
    module, name = _BUILTIN[type_name]
    found: type[BuiltinProvider] = getattr(importlib.import_module(module), name)
    return found


@functools.cache
def provider_class(type_name: str) -> ProviderClass:
    """The class of a provider type, imported on first use.

    Raises:
        KeyError: there is no such type.
        ProviderUnavailable: its package fails to import; says how.
    """
    found = builtin(type_name)
    if found is not None:
        return found
    point = _installed()[type_name]
    try:
        loaded: ProviderClass = point.load()
    except (Exception, SystemExit) as error:
        raise ProviderUnavailable(
            f"the provider '{type_name}' ({point.value}) fails to import: "
            f"{type(error).__name__}: {error}"
        ) from error
    return loaded


def describe(source: Source) -> str:
    """What a step calls, in a few words."""
    provider = builtin(source.type)
    if provider is None:
        return f"the provider '{source.type}'"
    return provider.describe(source.configuration)


class InstalledProviders:
    """The catalog (`flow.catalog.Catalog`) of the providers of this Python."""

    def types(self) -> Collection[str]:
        """The names of all provider types."""
        return (*_BUILTIN, *_installed())

    def why_unusable(self, type_name: str) -> str | None:
        """Why a type that is listed can't be used, or None."""
        try:
            provider_class(type_name)
        except ProviderUnavailable as error:
            return str(error)
        return None

    def request_keys(self, type_name: str) -> Collection[str] | None:
        """The keys of a request; None for the types of others."""
        provider = builtin(type_name)
        return provider.request_keys if provider else None

    def check(
        self, type_name: str, configuration: Mapping[str, Any], complete: bool
    ) -> list[Finding]:
        """What a built-in provider's model says of a configuration."""
        provider = builtin(type_name)
        if provider is None:
            return []
        try:
            provider.configuration_model.model_validate(dict(configuration), context=STATIC)
        except ValidationError as error:
            return [finding for item in error.errors() for finding in _finding(item, provider)]
        lacking = provider.missing(configuration) if complete else None
        return [Finding((), lacking)] if lacking else []


def _finding(detail: Any, provider: type[BuiltinProvider]) -> list[Finding]:
    model: type[BaseModel] = provider.configuration_model
    loc = tuple(part for part in detail["loc"])
    known = [*(field.alias or name for name, field in model.model_fields.items()), *SOURCE_KEYS]
    kind = detail["type"]
    if kind == "extra_forbidden":
        names = known if len(loc) == 1 else []
        hint = nearest(str(loc[-1]), names) if names else None
        return [Finding(loc, f"unknown key '{loc[-1]}'", hint, key=True)]
    if kind == "value_error":
        error = detail["ctx"]["error"]
        return [Finding(loc, str(error), getattr(error, "hint", None))]
    return [Finding(loc, *explain(detail))]
