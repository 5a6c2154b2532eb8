"""`incremental`: a step that loads only what is new (language 22)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, model_validator

from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.schema.fields import Strict, Templated
from flowtoy_dagster.flow.templates.jinja import check_jmespath
from flowtoy_dagster.flow.templates.render import is_template

_SPAN = re.compile(r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*(ms|s|m|h|d)?\s*")
_SECONDS = {
    "ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600),
    "d": Fraction(86400),
}
_EXPECTED = "expected a span such as '1h' or '2d', or a number"


@dataclass(frozen=True)
class Lag:
    """How far behind the stored value a run begins.

    Attributes:
        amount: seconds where it is a span, else a number.
        is_span: whether it was written with a unit.
    """

    amount: Fraction
    is_span: bool


def read_lag(value: Any) -> Lag:
    """A lag: a number, or a span with a unit.

    Raises:
        ValueError: it is none, or is negative.
    """
    if isinstance(value, str):
        found = _SPAN.fullmatch(value)
        if found is not None:
            unit = found[2]
            return Lag(Fraction(found[1]) * _SECONDS[unit or "s"], unit is not None)
    elif not isinstance(value, bool) and isinstance(value, (int, float)) and 0 <= value < math.inf:
        return Lag(Fraction(str(value)), False)
    raise ValueError(f"{_EXPECTED}, got {show(value)}")


def _check_lag(value: Any) -> Any:
    read_lag(value)
    return value


def _check_scalar(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"expected text or a number, got {show(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"expected text or a finite number, got {show(value)}")
    return value


def _check_path(value: str) -> str:
    if is_template(value):
        raise ValueError("expected a JMESPath expression, got a template: write it under 'value'")
    if not value.strip():
        raise ValueError("must not be empty")
    if value.startswith("$") or "['" in value:
        raise ValueError(
            f"expected a JMESPath expression such as 'updated_at' or 'meta.updated', "
            f"got {show(value)}"
        )
    check_jmespath(value)
    return value


class IncrementalConfig(Strict):
    """Where a step's cursor is read, and when it is stored.

    Attributes:
        cursor_path: JMESPath from a record to its cursor value.
        value: a template that gives the new value instead; it knows `records` and `response`.
        initial_value: what a step starts with of which nothing is stored.
        lag: how far behind the stored value it starts.
        order: whether the largest or the smallest value counts.
        on_cursor_value_missing: what is done with a record that has no cursor value.
        commit: whether the value is stored when the run ends, or with the step.
        key: identifies one of several stored values of a step, such as one for each tenant.
        secret: whether the values are hidden where they are shown.
    """

    cursor_path: Annotated[str, AfterValidator(_check_path)] | None = None
    value: str | None = None
    initial_value: Templated[Annotated[Any, BeforeValidator(_check_scalar)]] = None
    lag: Templated[Annotated[Any, BeforeValidator(_check_lag)]] = 0
    order: Literal["max", "min"] = "max"
    on_cursor_value_missing: Literal["raise", "include", "exclude"] = "raise"
    commit: Literal["run", "step"] = "run"
    key: Templated[Annotated[Any, BeforeValidator(_check_scalar)]] = None
    secret: bool = False

    @model_validator(mode="after")
    def _has_one_of_both(self) -> IncrementalConfig:
        if (self.cursor_path is None) == (self.value is None):
            both = "not both" if self.value is not None else "it has neither"
            raise ValueError(f"expected 'cursor_path' or 'value', {both}")
        if self.value is not None and not is_template(self.value):
            raise ValueError(f"'value' must be a template, got {show(self.value)}")
        return self
