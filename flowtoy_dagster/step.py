"""One step, from its upstream's outputs to its own. Nothing here knows Dagster."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.extraction import extract
from flowtoy_dagster.flow.draft import explain
from flowtoy_dagster.flow.graph import Source, Step
from flowtoy_dagster.flow.templating import render_all
from flowtoy_dagster.limits import (
    OutOfTime,
    delay_before,
    is_worth_a_retry,
    retries_of,
    time_limit,
    timeout_of,
)
from flowtoy_dagster.providers.base import Provider, ProviderResult, render_configuration
from flowtoy_dagster.providers.command import CommandLine
from flowtoy_dagster.providers.registry import (
    ProviderUnavailable,
    builtin,
    describe,
    provider_class,
)
from flowtoy_dagster.scope import RunInfo, Upstream, build_scope
from flowtoy_dagster.secrets import Mask, secret_values_in, set_active_mask, texts_in

logger = logging.getLogger("flowtoy.step")

STDERR_LINES = 10
RUN_OUT_OF_TIME = "the run's timeout has passed"


@dataclass(frozen=True)
class StepOutcome:
    """How one attempt of a step ended.

    Attributes:
        error: why it failed, in one line; None where it succeeded.
        outputs: values by name, in the order written; empty where it failed.
        result: what the provider gave; None where it was never called.
        stderr: the last lines of a failed command's stderr.
        called: what a failed step called, in a few words.
        retry_in: seconds until it should be tried again; None where it should not.
        max_retries: how often it may be tried again in all.
        mask: hides what the step knows to be secret; `error` and `stderr` are masked already.
        secrets: what it learned to be secret while it ran.
    """

    error: str | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    result: ProviderResult | None = None
    stderr: str = ""
    called: str = ""
    retry_in: float | None = None
    max_retries: int = 0
    mask: Mask = field(default_factory=Mask)
    secrets: frozenset[str] = frozenset()

    @property
    def succeeded(self) -> bool:
        """Whether the step succeeded."""
        return self.error is None


def run_step(
    step: Step,
    sources: Mapping[str, Source],
    upstream: Mapping[str, Upstream],
    run: RunInfo,
    *,
    attempt: int = 1,
    seconds_left: float | None = None,
    mask: Mask | None = None,
    lost: str | None = None,
) -> StepOutcome:
    """Run a step once: resolve the source, render, call, extract.

    Args:
        step: what to run.
        sources: the flow's named sources.
        upstream: the steps that it depends on, by written name.
        run: the run that it is part of.
        attempt: which attempt this is, from 1.
        seconds_left: until the run's own timeout.
        mask: hides what is known to be secret beforehand.
        lost: why the process of this attempt is gone, where it is; then nothing is called.

    Returns:
        What came of it; a failure of any kind is an outcome, not an exception.
    """
    this = _Attempt(step, sources, upstream, run, attempt, seconds_left, mask or Mask())
    return this.failure(lost, None, "crash") if lost is not None else this.outcome()


class _Attempt:
    """One attempt of a step, and what it learns on the way."""

    def __init__(
        self,
        step: Step,
        sources: Mapping[str, Source],
        upstream: Mapping[str, Upstream],
        run: RunInfo,
        number: int,
        seconds_left: float | None,
        mask: Mask,
    ) -> None:
        self.step = step
        self.scope = build_scope(upstream, sources, run)
        self.number = number
        self.seconds_left = seconds_left
        self.mask = mask
        self.learned: frozenset[str] = frozenset()
        self.called = describe(step.source)

    def outcome(self) -> StepOutcome:
        step = self.step
        set_active_mask(self._mask())
        try:
            configuration, payload = _rendered(step, self.scope)
            self._learn(secret_values_in([configuration, payload]))
            self.called = _called(step, configuration)
            provider = _construct(step, configuration)
            with time_limit(self._limit()):
                result = ProviderResult.of(_call(step, provider, payload))
        except StepError as error:
            return self.failure(error.message, None, error.kind)
        except OutOfTime as error:
            return self.failure(self._why_out_of_time(error), None, "timeout")
        if not result.success:
            return self.failure(_failure(step, result), result, "provider")
        try:
            outputs = {
                output.name: extract(output, step.source.type, result, self.scope)
                for output in step.outputs
            }
        except StepError as error:
            return self.failure(error.message, result, "provider")
        for output in step.outputs:
            if output.secret:
                self._learn(texts_in(outputs[output.name]))
        return StepOutcome(
            outputs=outputs, result=result, mask=self._mask(), secrets=self.learned
        )

    def failure(self, message: str, result: ProviderResult | None, kind: str) -> StepOutcome:
        """The outcome of a failed attempt, and whether another should follow."""
        mask = self._mask()
        delay, most = self._next_attempt(result, kind)
        stderr = _last_lines(result) if result is not None else ""
        return StepOutcome(
            error=mask.text(message),
            result=result,
            stderr=mask.text(stderr),
            called=mask.text(self.called),
            retry_in=delay,
            max_retries=most,
            mask=mask,
            secrets=self.learned,
        )

    def _learn(self, values: Iterable[str]) -> None:
        self.learned |= frozenset(values)
        set_active_mask(self._mask())

    def _mask(self) -> Mask:
        return self.mask.including(self.learned)

    def _limit(self) -> float | None:
        limits = (timeout_of(self.step.timeout, self.scope), self.seconds_left)
        return min((limit for limit in limits if limit is not None), default=None)

    def _why_out_of_time(self, error: OutOfTime) -> str:
        if error.limit == self.seconds_left:
            return RUN_OUT_OF_TIME
        return str(error)

    def _next_attempt(
        self, result: ProviderResult | None, kind: str
    ) -> tuple[float | None, int]:
        """Seconds until the next attempt, or None; and how many retries there are in all."""
        try:
            retry = retries_of(self.step.retry, self.scope)
        except StepError:
            return None, 0
        most = int(retry.max)
        if self.number > most or not is_worth_a_retry(retry, result, kind):
            return None, most
        return delay_before(retry, self.number, result), most


def _rendered(step: Step, scope: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """The step's configuration and payload with their templates rendered."""
    try:
        payload = render_all(step.payload, scope, "input")
    except TemplateError as error:
        raise StepError(str(error)) from None
    own = builtin(step.source.type)
    try:
        if own is not None:
            configuration = own.render(step.source.configuration, scope, payload)
        else:
            configuration = render_configuration(step.source.configuration, scope)
    except TemplateError as error:
        raise StepError(f"{_field(step, error.field)}: {error.message}") from None
    return configuration, payload


def _called(step: Step, configuration: Mapping[str, Any]) -> str:
    """What the step calls; with the values that it is called with, where they say more."""
    command = configuration.get("command")
    if isinstance(command, CommandLine):
        if command.script:
            return describe(step.source)
        configuration = {"command": list(command.argv)}
    return describe(Source(step.source.type, configuration))


def _construct(step: Step, configuration: dict[str, Any]) -> Provider:
    kind = step.source.type
    try:
        return provider_class(kind)(configuration)
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
        message = f"the provider '{step.source.type}' raised {_one_line(error)}"
        raise StepError(message, "raised") from None


def _field(step: Step, within: str | None) -> str:
    key = (within or "").split(".")[0].split("[")[0]
    return f"{'input' if key in step.request_keys else 'source'}.{within}"


def _first_mistake(step: Step, error: ValidationError) -> str:
    detail = error.errors()[0]
    parts = [str(part) for part in detail["loc"]]
    place = ".".join(part for part in parts if not part.startswith(("function-", "<")))
    cause = detail.get("ctx", {}).get("error")
    message = str(cause) if cause is not None else explain(detail)[0]
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
