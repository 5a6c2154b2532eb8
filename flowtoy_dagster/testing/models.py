"""What a test file may hold, as frozen models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.schema.fields import Misplaced, Name, Strict, Text, Whole
from flowtoy_dagster.flow.templates.jinja import check_jmespath


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, (str, dict)) else value


def _null_is_empty(value: Any) -> Any:
    return {} if value is None else value


def _check_expressions(value: dict[str, str]) -> dict[str, str]:
    for name, expression in value.items():
        _check_expression(name, expression)
    return value


def _check_expression(name: str, expression: str) -> None:
    try:
        check_jmespath(expression)
    except (ValueError, TemplateError) as error:
        raise Misplaced(str(error), (name,), at_key=False) from None


def _check_variables(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not name or "=" in name or "\0" in name:
            raise Misplaced(f"'{name}' is not the name of a variable", (name,))
        if "\0" in text:
            message = "an environment variable can't hold a null character"
            raise Misplaced(message, (name,), at_key=False)
    return value


def _check_called(value: Any) -> Any:
    if value is False or isinstance(value, dict):
        return value
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return value
    raise ValueError("expected a part of the call, a list of them, or false")


def _at_least_one(value: Any) -> Any:
    if not value:
        raise ValueError("expected at least one, got an empty list")
    return value


SomeOf = AfterValidator(_at_least_one)
State = Literal["succeeded", "failed", "skipped"]
Count = Annotated[Whole, Field(ge=0)]
Expressions = Annotated[dict[str, Text], AfterValidator(_check_expressions)]
Called = Annotated[Any, AfterValidator(_check_called)]


class StepExpectation(Strict):
    """What a step is expected to come to.

    Attributes:
        error: a part of the reason why it failed or was skipped.
        calls: how many requests were made, over all attempts, pages, polls and items.
        called: a part of a call; a list of parts is that of all calls, in their order.
    """

    state: State | None = None
    attempts: Count | None = None
    calls: Count | None = None
    error: Text | None = None
    counts: dict[Literal["total", "succeeded", "failed", "skipped"], Count] | None = Field(
        default=None, examples=["{failed: 1}"]
    )
    called: Called = None


class Expectation(Strict):
    """What a run is expected to come to.

    Attributes:
        outputs: by step; null for a step that has none, because it failed or was skipped.
    """

    state: Literal["succeeded", "failed"] | None = None
    steps: dict[str, StepExpectation] = Field(
        default_factory=dict, examples=["{fetch: {state: succeeded}}"]
    )
    outputs: dict[str, dict[str, Any] | None] = Field(
        default_factory=dict, examples=["{fetch: {rows: 2}}"]
    )
    outputs_match: dict[str, Expressions] = Field(
        default_factory=dict, examples=["{fetch: {rows: 'length(@) == `2`'}}"]
    )


class CaseConfig(Strict):
    """One test."""

    name: Name
    params: dict[str, Any] = Field(default_factory=dict, examples=["{day: 2026-11-01}"])
    env: Annotated[dict[str, Text], AfterValidator(_check_variables)] = Field(
        default_factory=dict, examples=["{API_TOKEN: t0ken}"]
    )
    mock: dict[str, Any] = Field(default_factory=dict, examples=["{fetch: {json: [1, 2]}}"])
    real: Annotated[tuple[Name, ...], BeforeValidator(_one_or_more)] = Field(
        default=(), examples=["[merge]"]
    )
    expect: Annotated[Expectation, BeforeValidator(_null_is_empty)] = Field(
        default_factory=Expectation, examples=["{state: succeeded}"]
    )


class CaseFileConfig(Strict):
    """A whole test file."""

    flow: Annotated[tuple[Name, ...], BeforeValidator(_one_or_more), SomeOf] = Field(
        description="write which flow is tested", examples=["shop.yaml"]
    )
    tests: Annotated[tuple[CaseConfig, ...], SomeOf] = Field(
        description="write at least one test", examples=["[{name: it works}]"]
    )
