"""How long a step may take and how often it is tried (language 10)."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.flow.compile.diagnostics import first_mistake
from flowtoy_dagster.flow.schema.durations import seconds
from flowtoy_dagster.flow.schema.retry import RetryConfig
from flowtoy_dagster.flow.templates.render import is_template, render
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.steps.needs import failure_of
from flowtoy_dagster.steps.rate_headers import retry_after
from flowtoy_dagster.steps.state.deadline import OutOfTime, within
from flowtoy_dagster.steps.words import one_line

logger = logging.getLogger("flowtoy.step")

POLICY_SECONDS = 10.0
"""How long the templates of `retry` may take."""
_PERMANENT = ("configuration", "items", "until")
"""The kinds of failures that another attempt can't change."""


def timeout_of(
    written: float | str | None, scope: Mapping[str, Any], field: str = "timeout"
) -> float | None:
    """The seconds that `timeout`, or another field, gives; None where it is null.

    Raises:
        StepError: its template gives no duration above zero.
    """
    value = _rendered(written, scope, field)
    if value is None:
        return None
    try:
        found = seconds(value)
    except ValueError as error:
        raise StepError(f"{field}: {error}") from None
    if found <= 0:
        raise StepError(f"{field}: must be more than 0")
    return found


def retries_of(written: RetryConfig | None, scope: Mapping[str, Any]) -> RetryConfig:
    """The retry settings with their templates rendered.

    Raises:
        StepError: a template gives something else than the setting takes.
    """
    if written is None:
        return RetryConfig(max=0)
    values = {
        key: _rendered(value, scope, f"retry.{key}")
        for key, value in written
    }
    try:
        return RetryConfig.model_validate(values)
    except ValidationError as error:
        raise StepError(f"retry.{': '.join(first_mistake(error))}") from None


def next_delay(
    written: RetryConfig | None,
    scope: Mapping[str, Any],
    attempt: int,
    result: ProviderResult | None,
    kind: str = "provider",
) -> tuple[float | None, int]:
    """Seconds until something that failed is tried again, and how many retries there are in all.

    Args:
        written: the step's settings.
        scope: what the names in their templates stand for.
        attempt: which attempt has failed, from 1.
        result: what the provider gave, if it was called.
        kind: of the failure, as `is_worth_a_retry` takes it.

    Returns:
        None where it is not tried again.

    Raises:
        StepError: the settings are wrong.
    """
    try:
        retry = within(POLICY_SECONDS, lambda: retries_of(written, scope))
        most = int(retry.max)
        if attempt > most or not is_worth_a_retry(retry, result, kind):
            return None, most
        return delay_before(retry, attempt, result), most
    except StepError:
        if kind in _PERMANENT:
            return None, 0
        raise
    except OutOfTime:
        raise StepError(f"retry: its templates took more than {POLICY_SECONDS:g} s") from None
    except Exception as error:
        logger.debug("the settings of 'retry' failed", exc_info=True)
        raise StepError(f"retry: {one_line(error)}") from None


def _rendered(value: Any, scope: Mapping[str, Any], field: str) -> Any:
    if not is_template(value):
        return value
    try:
        return render(value, scope)
    except TemplateError as error:
        raise failure_of(error, f"{field}: {error.message}") from None


def is_worth_a_retry(retry: RetryConfig, result: ProviderResult | None, kind: str) -> bool:
    """Whether a failure may be gone the next time.

    Args:
        retry: the step's settings.
        result: what the provider gave, if it was called.
        kind: `provider`, `timeout`, `crash`, `raised`; or `configuration`, `items` or `until`,
            which are permanent.
    """
    if kind in _PERMANENT:
        return False
    retryable = result.meta.get("retryable") if result is not None else None
    if isinstance(retryable, bool):
        return retryable
    names = _names_of(result, kind)
    if retry.on is None:
        hopeless = "4xx" in names and not names & {"408", "425", "429"}
        return not hopeless
    return bool(names & set(retry.on))


def _names_of(result: ProviderResult | None, kind: str) -> set[str]:
    """The names by which `retry.on` may mean a failure."""
    names = {kind}
    if result is None:
        return names
    failure = result.meta.get("failure")
    if isinstance(failure, str):
        names.add(failure)
    code = result.code
    if "status_code" in result.meta and isinstance(code, int):
        names |= {str(code), f"{code // 100}xx"}
    elif isinstance(code, int):
        names |= {"exit", f"exit:{code}"}
    return names


def delay_before(retry: RetryConfig, attempt: int, result: ProviderResult | None) -> float:
    """Seconds to wait before the retry that follows attempt number `attempt` (from 1)."""
    base = float(retry.delay)
    factors = {"constant": 1.0, "linear": attempt, "exponential": 2.0 ** min(attempt - 1, 64)}
    delay = min(base * factors[retry.backoff], 24 * 3600.0)
    if retry.jitter == "full":
        delay = random.uniform(0, delay)  # noqa: S311 - spreads load, protects nothing
    elif retry.jitter == "plus_minus":
        delay = random.uniform(0, 2 * delay)  # noqa: S311
    return max(delay, retry_after(result))
