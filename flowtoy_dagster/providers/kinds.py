"""Which providers there are: the built-in three, and those under `flowtoy.providers`."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from itertools import chain
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.compile.diagnostics import explain
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.files.suggestions import nearest
from flowtoy_dagster.flow.graph import Source
from flowtoy_dagster.flow.schema.fields import PARTIAL, STATIC
from flowtoy_dagster.flow.schema.models import SOURCE_KEYS
from flowtoy_dagster.providers.base import BuiltinProvider, ProviderClass

ENTRY_POINT_GROUP = "flowtoy.providers"
_CALL_MODULES = {"rest": ("flowtoy_dagster.providers.rest.transport",)}
_BUILTIN = {
    "rest": ("flowtoy_dagster.providers.rest.provider", "RestProvider"),
    "process": ("flowtoy_dagster.providers.process.provider", "ProcessProvider"),
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


def modules_for_calls(type_names: Iterable[str]) -> tuple[str, ...]:
    """What the built-in providers of these types import at their first call."""
    return tuple(
        module for name in sorted(type_names) for module in _CALL_MODULES.get(name, ())
    )


class _Types(Collection[str]):
    """The built-in types, and the installed ones, which are looked for where they are needed."""

    def __contains__(self, name: object) -> bool:
        return name in _BUILTIN or name in _installed()

    def __iter__(self) -> Iterator[str]:
        return chain(_BUILTIN, _installed())

    def __len__(self) -> int:
        return len(_BUILTIN) + len(_installed())


class InstalledProviders:
    """The catalog (`flow.catalog.Catalog`) of the providers of this Python."""

    def types(self) -> Collection[str]:
        """The names of all provider types."""
        return _Types()

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
        """What a built-in provider says of a configuration."""
        provider = builtin(type_name)
        if provider is None:
            return []
        try:
            context = STATIC if complete else PARTIAL
            provider.configuration_model.model_validate(dict(configuration), context=context)
        except ValidationError as error:
            return [finding for item in error.errors() for finding in _finding(item, provider)]
        lacking = provider.missing(configuration) if complete else None
        if lacking or not complete:
            return [Finding((), lacking)] if lacking else []
        return provider.warnings(configuration)


def _finding(detail: Any, provider: type[BuiltinProvider]) -> list[Finding]:
    loc, kind = tuple(detail["loc"]), detail["type"]
    if kind == "extra_forbidden":
        known = _keys(_model_at(provider.configuration_model, loc[:-1]))
        if len(loc) == 1:
            known += SOURCE_KEYS
        hint = nearest(str(loc[-1]), known).hint
        if loc[-1] in known:
            hint = "it stands beside a source's 'type', and can't be overridden"
        return [Finding(loc, f"unknown key '{loc[-1]}'", hint, key=True)]
    if kind == "missing":
        return [Finding(loc[:-1], f"the key '{loc[-1]}' is required")]
    if kind == "value_error":
        error = detail["ctx"]["error"]
        return [Finding(loc, str(error), getattr(error, "hint", None))]
    return [Finding(loc, *explain(detail))]


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(model: type[BaseModel], loc: KeyPath) -> type[BaseModel]:
    """The model of a configuration's part."""
    for part in loc:
        field = model.model_fields.get(str(part))
        model = next(_models_in(field.annotation), model) if field else model
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
