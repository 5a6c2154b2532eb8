"""A mapping as written against a pydantic model: what is wrong, in the language's words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_args

from pydantic import AliasChoices, AliasPath, BaseModel, ValidationError

from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.compile.diagnostics import explain, hint_on_template
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.files.suggestions import nearest, not_showing
from flowtoy_dagster.flow.schema.fields import (
    PARTIAL,
    STATIC,
    Misplaced,
    Strict,
    shape_hint,
    without_notes,
)
from flowtoy_dagster.flow.templates.render import is_template
from flowtoy_dagster.masking.names import is_secret_name

_CREDENTIALS = frozenset({"auth", "authorization", "basic", "cookie", "cookies"})
"""Keys whose value is a credential where it is a text, which a wrong value may be."""


def model_findings(
    model: type[BaseModel],
    written: Mapping[str, Any],
    complete: bool = True,
    outer_keys: Collection[str] = (),
) -> list[Finding]:
    """What is wrong with a mapping as written.

    Unknown keys are errors, unless the model allows them. What a template will give is not known,
    so it is no mistake.

    Args:
        model: what the mapping must be.
        written: the mapping, with its templates.
        complete: whether nothing is added to it, so that nothing may be missing.
        outer_keys: the keys that stand next to the mapping's, and may be meant.
    """
    found: list[Finding] = []
    keys = without_notes(dict(written))
    unknown = [] if model.model_config.get("extra") == "allow" else _unknown(model, keys)
    found += [_unknown_key(model, (key,), outer_keys) for key in unknown]
    try:
        model.model_validate(
            {key: value for key, value in keys.items() if key not in unknown},
            context=STATIC if complete else PARTIAL,
        )
    except ValidationError as error:
        found += [
            _finding(detail, model)
            for detail in error.errors()
            if _can_be_judged(detail, model, complete)
        ]
    return found


def _unknown(model: type[BaseModel], written: Mapping[str, Any]) -> list[str]:
    known = _keys(model)
    return [key for key in written if key not in known]


def _can_be_judged(detail: Any, model: type[BaseModel], complete: bool) -> bool:
    """Whether a mistake in a configuration as written is one, whatever its templates give."""
    knows_templates = issubclass(model, Strict)
    if detail["type"] == "missing" and (len(detail["loc"]) == 1 or not knows_templates):
        return complete
    return knows_templates or not _has_template(detail["input"])


def _has_template(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_template, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_template, value))
    return is_template(value)


def _finding(detail: Any, model: type[BaseModel]) -> Finding:
    loc, kind = tuple(detail["loc"]), detail["type"]
    if kind == "extra_forbidden":
        return _unknown_key(model, loc, ())
    if kind == "missing":
        return Finding(loc[:-1], f"the key '{loc[-1]}' is required")
    if kind == "value_error":
        error = detail["ctx"]["error"]
        if isinstance(error, Misplaced):
            return Finding((*loc, *error.path), str(error), error.hint, key=error.at_key)
        hint = getattr(error, "hint", None) or hint_on_template(detail, str(error))
        return Finding(loc, str(error), hint)
    keys = [part for part in loc if isinstance(part, str)]
    is_credential = bool(keys) and keys[-1].lower() in _CREDENTIALS
    with not_showing(is_credential or any(map(is_secret_name, keys))):
        message, hint = explain(detail)
    hint = hint or hint_on_template(detail, message) or shape_hint(model, detail)
    return Finding(loc, message, hint)


def _unknown_key(
    model: type[BaseModel], loc: KeyPath, outer_keys: Collection[str]
) -> Finding:
    name = str(loc[-1])
    known = [*_keys(_model_at(model, loc[:-1])), *outer_keys]
    hint = nearest(name, known).hint
    if name in known:
        hint = "it belongs next to a source's 'type', and can't be overridden"
    return Finding(loc, f"unknown key '{name}'", hint, key=True)


def _keys(model: type[BaseModel]) -> list[str]:
    config = model.model_config
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    found: list[str] = []
    for name, field in model.model_fields.items():
        aliases = list(_texts_of(field.validation_alias or field.alias))
        found += aliases
        if by_name or not aliases:
            found.append(name)
    return list(dict.fromkeys(found))


def _texts_of(alias: str | AliasChoices | AliasPath | None) -> Iterator[str]:
    """The keys in which a field may be given."""
    if isinstance(alias, AliasChoices):
        for choice in alias.choices:
            yield from _texts_of(choice)
    elif alias is not None:
        yield str(alias.path[0]) if isinstance(alias, AliasPath) else alias


def _model_at(model: type[BaseModel], loc: KeyPath) -> type[BaseModel]:
    """The model of a configuration's part."""
    for part in loc:
        field = model.model_fields.get(str(part))
        model = next(_models_in(field.annotation), model) if field else model
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
