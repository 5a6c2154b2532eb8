"""Field types shared by the language's models and the providers' configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.schema import durations
from flowtoy_dagster.flow.templates.render import is_template

STATIC = {"static": True}
"""Validation context for values as written, in which templates stand for what they will give."""
PARTIAL = {**STATIC, "partial": True}
"""The same for a part of a configuration, to which a step may add more."""

FREE_PREFIX = "x-"


class Misplaced(ValueError):  # noqa: N818 - what it is
    """A mistake at a key, or at a key's value, of what is being validated."""

    def __init__(
        self,
        message: str,
        path: KeyPath,
        hint: str | None = None,
        *,
        at_key: bool = True,
    ) -> None:
        super().__init__(message)
        self.path = path
        self.hint = hint
        self.at_key = at_key


class Strict(BaseModel):
    """A frozen model that rejects unknown keys; keys that begin with `x-` are free."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True,
        defer_build=True,  # a flow uses a few of the models; each takes a millisecond to build
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_free_keys(cls, value: Any) -> Any:
        return without_notes(value)


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that a mapping may have, as they are written."""
    return [field.alias or name for name, field in model.model_fields.items()]


_SHAPES = ("list_type", "tuple_type", "dict_type", "mapping_type", "model_type", "missing",
           "model_attributes_type")


def shape_hint(model: type[BaseModel], detail: Mapping[str, Any]) -> str | None:
    """An example of a key's value, for an error of pydantic about its shape.

    Args:
        model: what was validated.
        detail: the error, with `type` and `loc`.
    """
    if detail["type"] not in _SHAPES:
        return None
    names = [part for part in detail["loc"] if isinstance(part, str) and part[:1] != "<"]
    fields = {one.alias or key: one for key, one in model.model_fields.items()}
    field = fields.get(names[-1]) if names else None
    if field is None or not field.examples:
        return None
    written = f"{names[-1]}: {field.examples[0]}"
    if detail["type"] == "missing":
        return f"{field.description or 'write it'}, such as '{written}'"
    return f"write {written}"


def without_notes(value: Any) -> Any:
    """A mapping without its free keys; anything else as it is."""
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if not is_free(key)}
    return value


def is_free(key: object) -> bool:
    """Whether a key is a note of the author's (`x-…`), which the language leaves alone."""
    return isinstance(key, str) and key.startswith(FREE_PREFIX)


def _let_templates_pass(
    value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> Any:
    if info.context in (STATIC, PARTIAL) and isinstance(value, str) and is_template(value):
        return value
    return handler(value)


T = TypeVar("T")
Templated = Annotated[T, WrapValidator(_let_templates_pass)]
"""`Templated[int]`: an int, or (as written) a template that will give one."""


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"expected a number, got {str(value).lower()}")
    return value


def _not_empty(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


def _scalar_to_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return value


Whole = Annotated[int, BeforeValidator(_no_boolean)]
Duration = Annotated[float, BeforeValidator(durations.seconds)]
Timeout = Annotated[float, BeforeValidator(durations.seconds), Field(gt=0)]
Name = Annotated[str, AfterValidator(_not_empty)]
Text = Annotated[str, BeforeValidator(_scalar_to_text)]
"""Text for which YAML's numbers and booleans may be written without quotes."""
