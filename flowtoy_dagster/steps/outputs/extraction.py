"""From a provider's result to a step's outputs (language 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowtoy_dagster.entry_points import KindUnusable
from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.flow.schema.models import OutputConfig
from flowtoy_dagster.json_text import JsonError, dumps
from flowtoy_dagster.outputs.kind import OutputKind
from flowtoy_dagster.outputs.kinds import OUTPUTS, type_for
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.kind import ProviderKind


def extract(
    output: OutputConfig, provider: ProviderKind, result: ProviderResult, scope: Mapping[str, Any]
) -> Any:
    """The value of one output.

    Args:
        output: as written.
        provider: says how expressions see its results.
        result: what the provider gave.
        scope: what the names in templates stand for.

    Raises:
        StepError: it can't be extracted, or JSON can't hold it; names the output.
    """
    kind = output_kind(output)
    try:
        value = kind.extract(output.value, provider.view(result), scope)
    except TemplateError as error:
        raise StepError(f"output '{output.name}': {error.message}") from None
    if not (provider.gives_json and kind.gives_json(output.value)):
        _refuse_what_json_cannot_hold(output.name, value)
    return value


def doubt(
    output: OutputConfig, provider: ProviderKind, result: ProviderResult, value: Any
) -> str | None:
    """Why the value that was extracted is hardly what was meant, for a warning."""
    told = output_kind(output).doubt(output.value, provider.view(result), value)
    return None if told is None else f"output '{output.name}': {told}"


def output_kind(output: OutputConfig) -> OutputKind:
    """What an output is of.

    Raises:
        StepError: it can't be used here.
    """
    name = output.type or type_for(output.value)
    try:
        return OUTPUTS[name]
    except KeyError:
        raise StepError(f"there is no output type '{name}' here") from None
    except KindUnusable as error:
        raise StepError(str(error)) from None


def _refuse_what_json_cannot_hold(name: str, value: Any) -> None:
    try:
        dumps(value)
    except JsonError as error:
        place = f" at {error.path}" if error.path else ""
        raise StepError(f"output '{name}'{place}: {error.why}") from None
