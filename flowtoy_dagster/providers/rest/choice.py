"""A mapping whose `type` says which keys it may have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Union

from pydantic import ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails

from flowtoy_dagster.flow.files.suggestions import nearest, show
from flowtoy_dagster.flow.schema.fields import PARTIAL, STATIC, Misplaced, Strict
from flowtoy_dagster.flow.templates.render import is_template


def forms_of(
    kinds: Mapping[str, type[Strict]], *more: type[Strict], by_name: bool = False
) -> Any:
    """What may be written for `one_of`, as a type: for the JSON Schema.

    Args:
        kinds: the models by type.
        more: models that need no type.
        by_name: whether the type alone will do.
    """
    names = [Literal[name] for name in kinds] if by_name else []
    forms = (*kinds.values(), *more, *names)
    return Union[forms]  # noqa: UP007 - there is no operator for a tuple


def one_of(kinds: Mapping[str, type[Strict]], what: str) -> Callable[[Any, ValidationInfo], Any]:
    """A validator for `{type: …}`, which may be the type alone.

    Args:
        kinds: the models by type.
        what: what they are, for errors.
    """

    def choose(value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, tuple(kinds.values())):
            return value
        written = {"type": value} if isinstance(value, str) else value
        if not isinstance(written, dict):
            raise ValueError(f"expected a mapping with a 'type', got {show(value)}")
        kind = written.get("type")
        if info.context in (STATIC, PARTIAL) and is_template(kind):
            return value
        if kind is None and info.context == PARTIAL:
            return value
        model = _model(kind, kinds, what, ("type",) if isinstance(value, dict) else ())
        try:
            return model.model_validate(written, context=info.context)
        except ValidationError as error:
            mistakes = list(_mistakes(error, model, str(kind), kinds, info))
            if not mistakes:
                return value  # a step adds what is missing
            raise ValidationError.from_exception_data(model.__name__, mistakes) from None

    return choose


def _model(
    kind: Any, kinds: Mapping[str, type[Strict]], what: str, path: tuple[str, ...]
) -> type[Strict]:
    listed = f"the types are {_names(kinds)}"
    if kind is None:
        raise Misplaced("the key 'type' is required", (), listed, at_key=False)
    if isinstance(kind, str) and kind in kinds:
        return kinds[kind]
    question = nearest(kind, kinds).question if isinstance(kind, str) else None
    hint = f"{question} {listed}" if question else listed
    raise Misplaced(f"there is no {what} of type {show(kind)}", path, hint, at_key=False)


def _names(kinds: Mapping[str, type[Strict]]) -> str:
    return ", ".join(f"'{kind}'" for kind in kinds)


def _keys(model: type[Strict]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _mistakes(
    error: ValidationError, model: type[Strict], kind: str, kinds: Mapping[str, type[Strict]],
    info: ValidationInfo,
) -> Iterator[InitErrorDetails]:  # fmt: skip
    """The errors of a model, with unknown keys in the words of this choice."""
    for detail in error.errors():
        loc, context = detail["loc"], detail.get("ctx", {})
        if detail["type"] == "missing" and info.context == PARTIAL:
            continue
        code = detail["type"]
        if code == "extra_forbidden" and len(loc) == 1:
            name = str(loc[0])
            others = [f"'{k}'" for k, other in kinds.items() if name in _keys(other)]
            hint = nearest(name, _keys(model)).hint
            if others:
                hint = f"it is a key of {', '.join(others)}"
            mistake = Misplaced(f"'{kind}' has no key '{name}'", (), hint)
            code, context = "value_error", {"error": mistake}
        yield InitErrorDetails(type=code, loc=loc, input=detail["input"], ctx=context)
