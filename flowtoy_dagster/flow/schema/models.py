"""The language as frozen models. What a mapping may hold, and nothing about what it means."""

from __future__ import annotations

import re
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
from flowtoy_dagster.flow.schema.retry import RetryConfig, one_or_more, short_retry
from flowtoy_dagster.flow.schema.tags import check_run_tags, check_step_tags
from flowtoy_dagster.flow.templates.conditions import condition
from flowtoy_dagster.masking.names import is_secret_name

OnError = Literal["fail", "skip", "continue"]
RunIf = Literal["success", "failure", "always"]
WorkingDirectory = Literal["started", "flow"]
StepTags = Annotated[dict[str, Text], AfterValidator(check_step_tags)]
RunTags = Annotated[dict[str, Text], AfterValidator(check_run_tags)]

DEFAULT_WORKERS = 4
"""Steps that may run at once where neither the flow nor the run says how many (language 10.5)."""
OUTPUT_KEYS = ("name", "type", "value", "secret", "required")
SOURCE_KEYS = ("type", "configuration", "description", "concurrency", "pool", "rate")


def is_pool(value: str) -> bool:
    """Whether a text is the name of a pool."""
    return _POOL.fullmatch(value) is not None


def _check_pool(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    if not is_pool(value):
        raise ValueError(f"a pool's name has no spaces in it, got {show(value)}")
    return value


_POOL = re.compile(r"\S+")
Pool = Annotated[str, AfterValidator(_check_pool)]
AtOnce = Annotated[Whole, Field(ge=1)]


def _check_queue(value: str) -> str:
    if not _QUEUE.fullmatch(value):
        raise ValueError(
            f"write the name of a queue, not {show(value)}: letters, digits, '_', '.' or '-', "
            "at most 60"
        )
    return value


_QUEUE = re.compile(r"[A-Za-z0-9_.-]{1,60}")
Queue = Annotated[str, AfterValidator(_check_queue)]
"""Names workers that were started for it."""


class SourceConfig(Strict):
    """Where a step gets its data: a provider's type and its configuration (language 3.1).

    Attributes:
        type: which provider is called, such as rest or process.
        configuration: the provider's keys; they may stand here, too.
        description: for people.
        concurrency: how many steps of a run use it at once.
        pool: the pool of Dagster's in which its steps run.
        rate: how many calls a span of time may hold, such as 10/s.
    """

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
    """A named source with changes (language 4.3).

    Attributes:
        base: the named source that is changed.
        override: keys that replace those of the base.
    """

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
        ValueError: a key is in both places, or `configuration` is not a mapping.
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
            message = f"'{key}' is given both next to 'configuration' and in it"
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

    Attributes:
        name: what other steps call it: flows.<step>.<name>.
        type: how it is extracted; by default what its value fits.
        value: a JMESPath expression, a template, or stdout.
        secret: whether its value is hidden; by default its name decides.
        required: whether null or an empty text fails the step.
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


Condition = Annotated[Any, AfterValidator(condition)]
"""An expression that gives true or false, as a template (language 19.1)."""


class StepConfig(Strict):
    """One step as written (language 4.1).

    Attributes:
        name: what other steps and people call it.
        source: what it calls: a named source, a provider's type, or a mapping.
        for_each: a list, a mapping, or a template of one, for whose items it is repeated.
        incremental: loads only what is new since the last run.
        input: a request, or a payload for the call.
        output: what is extracted from the result, for other steps.
        depends_on: steps that come before it, besides those that templates name.
        when: an expression; false skips the step.
        run_if: whether it runs after failures, too.
        on_error: what follows when it fails.
        retry: how many more attempts a failed step has, or a mapping.
        timeout: how long an attempt may take.
        until: an expression; the step is called again until it is true.
        every: how long it waits between two calls.
        for_: how long it may be called again before it fails.
        group: the group of runner.groups whose limit it shares.
        pool: the pool of Dagster's in which it runs.
        queue: the queue whose workers run it, where the executor has workers elsewhere.
        description: for people.
        tags: of the step in Dagster.
    """

    name: Name
    source: Source = Field(description="write what the step calls", examples=["process"])
    for_each: ForEachConfig | None = None
    incremental: IncrementalConfig | None = Field(
        default=None, examples=["{cursor_path: updated_at, initial_value: \"2026-01-01\"}"]
    )
    input: Any = None
    output: tuple[OutputConfig, ...] = Field(
        default=(), examples=["[{name: result, value: stdout}]"]
    )
    depends_on: Annotated[tuple[Name, ...], BeforeValidator(one_or_more)] = Field(
        default=(), examples=["[first, second]"]
    )
    when: Condition | None = None
    run_if: RunIf | None = None
    on_error: OnError | None = None
    retry: Annotated[RetryConfig, BeforeValidator(short_retry)] | None = Field(
        default=None, examples=["3"]
    )
    timeout: Templated[Timeout] | None = None
    until: Condition | None = None
    every: Templated[Timeout] | None = None
    for_: Annotated[Templated[Timeout] | None, Field(alias="for")] = None
    group: Name | None = None
    pool: Pool | None = None
    queue: Queue | None = None
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
    """Steps of which only so many run at once (language 17.2).

    Attributes:
        concurrency: how many of its steps run at once.
    """

    concurrency: AtOnce


class RunnerConfig(Strict):
    """How the flow runs (language 10.4).

    Attributes:
        on_error: what follows when a step fails that does not say so itself.
        max_workers: how many steps run at once.
        timeout: how long a run may take.
        grace: how long steps with run_if have when a run is ended.
        executor: which executor runs the steps.
        executor_options: what the executor takes.
        groups: groups of steps of which only so many run at once.
        cwd: what relative paths start from: where the run was started, or the flow's folder.
    """

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
    cwd: WorkingDirectory = "started"


class ScheduleConfig(Strict):
    """When Dagster starts the flow by itself (language 16).

    Attributes:
        cron: when, as five fields of cron.
        timezone: whose clock counts, such as Europe/Zurich.
        params: the values of parameters for these runs.
        enabled: whether it is on when Dagster first sees it.
        description: for people.
    """

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
    """A call that is made when the run has ended (language 19.6).

    Attributes:
        on: the ends of a run that it reports.
        source: what is called, as in a step.
        input: a request or a payload, as in a step.
    """

    on: Annotated[tuple[RunEnd, ...], BeforeValidator(one_or_more), AfterValidator(_some_ends)]
    source: Source
    input: Any = None


def _one_or_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class FlowConfig(Strict):
    """A whole configuration after merging (language 2).

    Attributes:
        name: of the flow; by default the file's.
        description: for people.
        tags: of its runs in Dagster.
        sources: what steps call, by name.
        flow: the steps.
        runner: how the flow runs.
        params: values that can be chosen when a run starts.
        notify: calls that are made when a run has ended.
        schedule: when Dagster starts the flow by itself.
    """

    name: Name
    description: str | None = None
    tags: RunTags = Field(default_factory=dict)
    sources: dict[str, SourceConfig] = Field(default_factory=dict)
    flow: tuple[StepConfig, ...] = Field(min_length=1)
    runner: RunnerConfig = Field(default_factory=RunnerConfig, examples=["{max_workers: 4}"])
    params: dict[str, ParamConfig] = Field(default_factory=dict)
    notify: tuple[NotifyConfig, ...] = ()
    schedule: Annotated[tuple[ScheduleConfig, ...], BeforeValidator(_one_or_list)] = ()
