"""`retry`: how often and after what delays a failed step is tried again (language 10.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.schema.fields import Duration, Strict, Templated, Text, Whole
from flowtoy_dagster.flow.templates.render import is_template


def one_or_more(value: Any) -> Any:
    """A list, of which one entry may stand alone."""
    return [value] if isinstance(value, (str, int)) else value


def _check_reason(value: str) -> str:
    if not _REASON.fullmatch(value):
        raise ValueError(
            f"'{value}' is not a reason to retry: timeout, connection, crash, raised, provider, "
            "exit, exit:75, 4xx, 5xx or a status such as 429"
        )
    return value


_REASON = re.compile(r"timeout|connection|crash|raised|provider|exit(:-?\d+)?|[1-5]xx|[1-5]\d\d")
RetryReason = Annotated[Text, AfterValidator(_check_reason)]


class RetryConfig(Strict):
    """How often and after what delays a failed step is tried again (language 10.1).

    Attributes:
        max: how many more attempts a failed step has.
        delay: how long it waits between two attempts.
        backoff: how the delay grows.
        jitter: how the delay is varied by chance.
        on: only after these failures, such as timeout, exit:75 or 5xx.
    """

    max: Templated[Annotated[Whole, Field(ge=0)]]
    delay: Templated[Duration] = 1.0
    backoff: Templated[Literal["constant", "linear", "exponential"]] = "constant"
    jitter: Templated[Literal["none", "full", "plus_minus"]] = "none"
    on: Annotated[tuple[RetryReason, ...], BeforeValidator(one_or_more)] | None = None


def short_retry(value: Any) -> Any:
    """`retry` as a mapping.

    Raises:
        ValueError: it is neither one, nor a number or a template.
    """
    if isinstance(value, (dict, RetryConfig)):
        return value
    if isinstance(value, bool) or not (isinstance(value, int) or is_template(value)):
        raise ValueError(f"expected a number of retries or a mapping, got {show(value)}")
    return {"max": value}


def retry_config(value: int | Mapping[str, Any]) -> RetryConfig:
    """A `retry` as the language writes it, in Python.

    Raises:
        ValueError: it is none.
    """
    written = dict(value) if isinstance(value, Mapping) else value
    return RetryConfig.model_validate(short_retry(written))
