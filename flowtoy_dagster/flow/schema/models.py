"""The language as frozen models. What a mapping may hold, and nothing about what it means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.schema.cron import check_cron, check_timezone
from flowtoy_dagster.flow.schema.fields import (
    Duration,
    Misplaced,
    Name,
    Strict,
    Templated,
    Text,
    Timeout,
    Whole,
    without_notes,
)
from flowtoy_dagster.flow.schema.for_each import ForEachConfig, long_form
from flowtoy_dagster.flow.schema.incremental import IncrementalConfig
from flowtoy_dagster.flow.schema.params import ParamConfig
from flowtoy_dagster.flow.schema.rates import Rates
from flowtoy_dagster.flow.schema.tags import check_run_tags, check_step_tags
from flowtoy_dagster.flow.templates.conditions import condition
from flowtoy_dagster.flow.templates.render import is_template
from flowtoy_dagster.masking.names import is_secret_name

OnError = Literal["fail", "skip", "continue"]
RunIf = Literal["success", "failure", "always"]
StepTags = Annotated[dict[str, Text], AfterValidator(check_step_tags)]
RunTags = Annotated[dict[str, Text], AfterValidator(check_run_tags)]

DEFAULT_WORKERS = 4
"""Steps that may run at once where neither the flow nor the run says how many (language 10.5)."""
OUTPUT_KEYS = ("name", "type", "value", "secret", "required")
SOURCE_KEYS = ("type", "configuration", "description", "concurrency", "pool", "rate")


def _check_pool(value: str) -> str:
    if not _POOL.fullmatch(value):
        raise ValueError(f"a pool's name has no spaces in it, got {show(value)}")
    return value


_POOL = re.compile(r"\S+")
Pool = Annotated[str, AfterValidator(_check_pool)]
AtOnce = Annotated[Whole, Field(ge=1)]


class SourceConfig(Strict):
    """Where a step gets its data: a provider's type and its configuration (language 3.1)."""

    type: Name = Field(description="write which provider is called", examples=["rest"])
    configuration: dict[str, Any] = Field(default_factory=dict)
    description: str | None = None
    concurrency: AtOnce | None = None
    pool: Pool | None = None
    rate: Rates | None = None

    @model_validator(mode="before")
    @classmethod
    def _take_shorthand(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return gather_configuration(value, SOURCE_KEYS)


class SourceReference(Strict):
    """A named source with changes (language 4.3)."""

    base: Name
    override: dict[str, Any] = Field(default_factory=dict)

    @field_validator("override", mode="before")
    @classmethod
    def _take_shorthand(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        gathered = gather_configuration(value, ("configuration",))
        return gathered.get("configuration", {})


def gather_configuration(value: dict[str, Any], own_keys: tuple[str, ...]) -> dict[str, Any]:
    """Move the keys that are not `own_keys` into `configuration`.

    Raises:
        ValueError: a key stands in both places, or `configuration` is not a mapping.
    """
    own = {key: item for key, item in value.items() if key in own_keys}
    short = {
        key: item
        for key, item in value.items()
        if key not in own_keys and not str(key).startswith("x-")
    }
    written = own.get("configuration")
    if written is not None and not isinstance(written, dict):
        raise ValueError("'configuration' must be a mapping")
    for key in short:
        if key in (written or {}):
            message = f"'{key}' is given both beside 'configuration' and in it"
            raise Misplaced(message, (key,), "keep one of the two")
    if short or written is None:
        own["configuration"] = {**(written or {}), **short}
    return own


def _source_form(value: Any) -> str:
    if isinstance(value, SourceReference) or (isinstance(value, dict) and "base" in value):
        return "<derived>"
    if isinstance(value, (SourceConfig, dict)):
        return "<inline>"
    return "<name>"


Source = Annotated[
    Annotated[Name, Tag("<name>")]
    | Annotated[SourceConfig, Tag("<inline>")]
    | Annotated[SourceReference, Tag("<derived>")],
    Discriminator(_source_form),
]


class OutputConfig(Strict):
    """One named output of a step (language 7.1, 19.7).

    Its type is looked for where the kinds of outputs are known; in a `Flow` it is set. What else is
    written belongs to the type: `options` has it.
    """

    name: Name
    type: Name | None = None
    value: Any = None
    secret: bool | None = None
    required: bool = False
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_options(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        keys = without_notes(value)
        own = {key: item for key, item in keys.items() if key in OUTPUT_KEYS}
        others = {key: item for key, item in keys.items() if key not in OUTPUT_KEYS}
        return {**own, "options": others} if others else own

    @property
    def is_secret(self) -> bool:
        """Whether its value is a secret: as it says, else by its name (language 7.4)."""
        return is_secret_name(self.name) if self.secret is None else self.secret


def _one_or_more(value: Any) -> Any:
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
    """How often and after what delays a failed step is tried again (language 10.1)."""

    max: Templated[Annotated[Whole, Field(ge=0)]]
    delay: Templated[Duration] = 1.0
    backoff: Templated[Literal["constant", "linear", "exponential"]] = "constant"
    jitter: Templated[Literal["none", "full", "plus_minus"]] = "none"
    on: Annotated[tuple[RetryReason, ...], BeforeValidator(_one_or_more)] | None = None


def _short_retry(value: Any) -> Any:
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
    return RetryConfig.model_validate(_short_retry(written))


Condition = Annotated[Any, AfterValidator(condition)]
"""An expression that gives true or false, as a template (language 19.1)."""


class StepConfig(Strict):
    """One step as written (language 4.1)."""

    name: Name
    source: Source = Field(description="write what the step calls", examples=["process"])
    for_each: ForEachConfig | None = None
    incremental: IncrementalConfig | None = None
    input: Any = None
    output: tuple[OutputConfig, ...] = Field(
        default=(), examples=["[{name: result, value: stdout}]"]
    )
    depends_on: Annotated[tuple[Name, ...], BeforeValidator(_one_or_more)] = Field(
        default=(), examples=["[first, second]"]
    )
    when: Condition | None = None
    run_if: RunIf | None = None
    on_error: OnError | None = None
    retry: Annotated[RetryConfig, BeforeValidator(_short_retry)] | None = None
    timeout: Templated[Timeout] | None = None
    until: Condition | None = None
    every: Templated[Timeout] | None = None
    for_: Annotated[Templated[Timeout] | None, Field(alias="for")] = None
    group: Name | None = None
    pool: Pool | None = None
    description: str | None = None
    tags: StepTags = Field(default_factory=dict)

    @field_validator("for_each", mode="before")
    @classmethod
    def _null_is_no_list(cls, value: Any) -> Any:
        # Called only where it is written: a step must not run once because its list is missing.
        return long_form(value)

    @field_validator("output", "depends_on", mode="before")
    @classmethod
    def _null_is_empty(cls, value: Any) -> Any:
        return () if value is None else value


class GroupConfig(Strict):
    """Steps of which only so many run at once (language 17.2)."""

    concurrency: AtOnce


class RunnerConfig(Strict):
    """How the flow runs (language 10.4)."""

    on_error: OnError = "fail"
    max_workers: AtOnce | None = None
    timeout: Timeout | None = None
    grace: Duration = 30.0
    executor: Name | None = None
    executor_options: Annotated[dict[str, Any], BeforeValidator(without_notes)] = Field(
        default_factory=dict
    )
    groups: Annotated[dict[Name, GroupConfig], BeforeValidator(without_notes)] = Field(
        default_factory=dict
    )


class ScheduleConfig(Strict):
    """When Dagster starts the flow by itself (language 16)."""

    cron: Annotated[str, AfterValidator(check_cron)]
    timezone: Annotated[str, AfterValidator(check_timezone)] = "UTC"
    params: dict[str, Any] = Field(default_factory=dict)
    enabled: bool = True
    description: str | None = None


RunEnd = Literal["failure", "success", "cancelled", "recovered"]


def _some_ends(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError(f"expected at least one of {', '.join(map(repr, get_args(RunEnd)))}")
    return value


class NotifyConfig(Strict):
    """A call that is made when the run has ended (language 19.6)."""

    on: Annotated[tuple[RunEnd, ...], BeforeValidator(_one_or_more), AfterValidator(_some_ends)]
    source: Source
    input: Any = None


def _one_or_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class FlowConfig(Strict):
    """A whole configuration after merging (language 2)."""

    name: Name
    description: str | None = None
    tags: RunTags = Field(default_factory=dict)
    sources: dict[str, SourceConfig] = Field(default_factory=dict)
    flow: tuple[StepConfig, ...] = Field(min_length=1)
    runner: RunnerConfig = Field(default_factory=RunnerConfig, examples=["{max_workers: 4}"])
    params: dict[str, ParamConfig] = Field(default_factory=dict)
    notify: tuple[NotifyConfig, ...] = ()
    schedule: Annotated[tuple[ScheduleConfig, ...], BeforeValidator(_one_or_list)] = ()
