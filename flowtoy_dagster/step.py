"""One step, from its upstream's outputs to its own. Nothing here knows Dagster."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.extraction import extract
from flowtoy_dagster.flow.graph import Source, Step
from flowtoy_dagster.flow.templating import render_all
from flowtoy_dagster.providers.base import Provider, ProviderResult, render_configuration
from flowtoy_dagster.providers.registry import ProviderUnavailable, builtin, provider_class
from flowtoy_dagster.scope import RunInfo, Upstream, build_scope

logger = logging.getLogger("flowtoy.step")

STDERR_LINES = 10


@dataclass(frozen=True)
class StepOutcome:
    """How one attempt of a step ended.

    Attributes:
        error: why it failed, in one line; None where it succeeded.
        outputs: values by name, in the order written; empty where it failed.
        result: what the provider gave; None where it was never called.
        stderr: the last lines of a failed command's stderr.
    """

    error: str | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    result: ProviderResult | None = None
    stderr: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the step succeeded."""
        return self.error is None


def run_step(
    step: Step,
    sources: Mapping[str, Source],
    upstream: Mapping[str, Upstream],
    run: RunInfo,
) -> StepOutcome:
    """Run a step once: resolve the source, render, call, extract.

    Args:
        step: what to run.
        sources: the flow's named sources.
        upstream: the steps that it depends on, by written name.
        run: the run that it is part of.

    Returns:
        What came of it; a failure of any kind is an outcome, not an exception.
    """
    scope = build_scope(upstream, sources, run)
    try:
        provider, payload = _provider(step, scope)
        result = ProviderResult.of(_call(step, provider, payload))
    except StepError as error:
        return StepOutcome(error.message)
    if not result.success:
        return StepOutcome(_failure(step, result), result=result, stderr=_last_lines(result))
    try:
        outputs = {
            output.name: extract(output, step.source.type, result, scope)
            for output in step.outputs
        }
    except StepError as error:
        return StepOutcome(error.message, result=result)
    return StepOutcome(outputs=outputs, result=result)


def _provider(step: Step, scope: Mapping[str, Any]) -> tuple[Provider, Any]:
    """The step's provider with its rendered configuration, and the rendered payload."""
    kind = step.source.type
    try:
        payload = render_all(step.payload, scope, "input")
    except TemplateError as error:
        raise StepError(str(error)) from None
    own = builtin(kind)
    try:
        if own is not None:
            configuration = own.render(step.source.configuration, scope, payload)
        else:
            configuration = render_configuration(step.source.configuration, scope)
    except TemplateError as error:
        raise StepError(f"{_field(step, error.field)}: {error.message}") from None
    try:
        return provider_class(kind)(configuration), payload
    except KeyError:
        raise StepError(f"there is no provider type '{kind}' here") from None
    except ProviderUnavailable as error:
        raise StepError(str(error)) from None
    except ValidationError as error:
        raise StepError(_first_mistake(step, error)) from None
    except (Exception, SystemExit) as error:
        logger.debug("the provider '%s' refused its configuration", kind, exc_info=True)
        raise StepError(f"the provider '{kind}' refused its configuration: {_one_line(error)}"
                        ) from None


def _call(step: Step, provider: Provider, payload: Any) -> Any:
    try:
        return provider.call(payload)
    except (Exception, SystemExit) as error:
        logger.debug("the provider '%s' raised", step.source.type, exc_info=True)
        raise StepError(f"the provider '{step.source.type}' raised {_one_line(error)}") from None


def _field(step: Step, within: str | None) -> str:
    key = (within or "").split(".")[0].split("[")[0]
    return f"{'input' if key in step.request_keys else 'source'}.{within}"


def _first_mistake(step: Step, error: ValidationError) -> str:
    detail = error.errors()[0]
    place = ".".join(str(part) for part in detail["loc"] if not str(part).startswith("function-"))
    cause = detail.get("ctx", {}).get("error")
    message = str(cause) if cause is not None else detail["msg"][0].lower() + detail["msg"][1:]
    return f"{_field(step, place)}: {message}"


def _failure(step: Step, result: ProviderResult) -> str:
    if result.notes:
        return "; ".join(" ".join(note.split()) for note in result.notes)
    return f"the provider '{step.source.type}' reported a failure (code {result.code})"


def _last_lines(result: ProviderResult) -> str:
    stderr = result.data.get("stderr") if isinstance(result.data, dict) else None
    return "\n".join(stderr.splitlines()[-STDERR_LINES:]) if isinstance(stderr, str) else ""


def _one_line(error: BaseException) -> str:
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
