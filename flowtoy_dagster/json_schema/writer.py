"""Models to JSON Schema, with what is written before it is validated.

A model's validators change what is written: durations are numbers or text, one value may stand for
a list, a template for any value. The forms here say what may be written. A validator that is not
known here may take anything, so the schema says nothing about its value.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

Schema = dict[str, Any]

TEMPLATE: Schema = {
    "type": "string", "pattern": r"\{\{|\{%|\{#", "description": "A template: {{ … }}.",
}
_NOTES = "^x-"
_DURATION: Schema = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(ms|s|m|h)?\s*$"},
    ],
    "examples": [30, "500ms", "5m"],
}
_RATE: Schema = {
    "type": "string", "pattern": r"^\s*\d{1,12}\s*/\s*[smhd]\s*$", "examples": ["10/s"],
}
_TYPE_LATER: Schema = {
    "type": "object", "properties": {"type": TEMPLATE}, "required": ["type"],
}
"""One of several forms, of which a template says which."""
_SCALAR: Schema = {"type": ["string", "number", "boolean"]}
_LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "min_length": "minLength"}
"""The words of pydantic's own validators."""
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)


def _or(*more: Schema) -> Callable[[Schema], Schema]:
    return lambda inner: {"anyOf": [inner, *more]}


def _or_one(inner: Schema) -> Schema:
    return {"anyOf": [inner, inner.get("items", {})]}


def _with_notes(inner: Schema) -> Schema:
    return {**inner, "patternProperties": {_NOTES: {}}} if "$ref" not in inner else inner


def _open(inner: Schema) -> Schema:
    return {**inner, "additionalProperties": True}


def _inferred(inner: Schema) -> Schema:
    return {**inner, "required": []}


FORMS: dict[str, Callable[[Schema], Schema]] = {
    "_drop_free_keys": _with_notes,
    "without_notes": _with_notes,
    "_take_shorthand": _open,
    "_gather_options": _open,
    "_infer_type": _inferred,
    "_no_boolean": lambda inner: inner,
    "_header": lambda inner: inner,
    "_request_keys": lambda inner: inner,
    "_scalar_to_text": lambda inner: {**inner, **_SCALAR},
    "seconds": lambda inner: _DURATION,
    "one_or_more": _or_one,
    "_one_or_more": _or_one,
    "_one_or_list": _or_one,
    "_null_is_empty": _or({"type": "null"}),
    "_null_is_no_list": _or({"type": "array"}, TEMPLATE),
    "_check_iterated": lambda inner: {"anyOf": [{"type": ["array", "object"]}, TEMPLATE]},
    "short_retry": _or({"type": "integer", "minimum": 0}, TEMPLATE),
    "read_rates": lambda inner: {"anyOf": [_RATE, {"type": "array", "items": _RATE}]},
}
"""What may be written, by the name of the validator that reads it."""


class Writer(GenerateJsonSchema):
    """Writes what may be written in YAML."""

    def function_before_schema(self, schema: Any) -> JsonSchemaValue:
        """What a validator reads that comes before the type's own."""
        inner = self.generate_inner(schema["schema"])
        form = FORMS.get(_name_of(schema))
        if form is not None:
            return form(inner)
        if "properties" in inner:  # of a model: its keys are known, and not what they may be
            return {"type": "object", "properties": {key: {} for key in inner["properties"]}}
        return {}

    def function_plain_schema(self, schema: Any) -> JsonSchemaValue:
        """The forms that a validator names which does all by itself; else nothing is known."""
        written = self.generate_inner(schema.get("json_schema_input_schema", {"type": "any"}))
        forms = written.get("anyOf", written.get("oneOf"))
        return {"anyOf": [*forms, _TYPE_LATER, TEMPLATE, {"type": "null"}]} if forms else {}

    def function_wrap_schema(self, schema: Any) -> JsonSchemaValue:
        """What stands for a value, or for the template of one."""
        inner = self.generate_inner(schema["schema"])
        is_templated = _name_of(schema) == "_let_templates_pass"
        return {"anyOf": [inner, TEMPLATE]} if is_templated else {}

    def function_after_schema(self, schema: Any) -> JsonSchemaValue:
        """The type's own form, of which a validator takes a part."""
        if _name_of(schema) == "condition":
            return {"type": ["string", "boolean"]}
        inner = self.generate_inner(schema["schema"])
        limits = getattr(schema["function"]["function"], "keywords", {})
        known = {_LIMITS[word]: most for word, most in limits.items() if word in _LIMITS}
        inner = {**inner, **known}
        return {**inner, "minLength": 1} if _name_of(schema) == "_not_empty" else inner

    def tagged_union_schema(self, schema: Any) -> JsonSchemaValue:
        """One of several forms; which one it is depends on what is written."""
        found = super().tagged_union_schema(schema)
        return {"anyOf": found["oneOf"]} if "oneOf" in found else found

    def int_schema(self, schema: Any) -> JsonSchemaValue:
        """A whole number, which may be in quotes."""
        quoted = {"type": "string", "pattern": r"^\s*\d+\s*$"}
        return {"anyOf": [super().int_schema(schema), quoted]}

    def is_instance_schema(self, schema: Any) -> JsonSchemaValue:
        """A value that is not JSON is written in a form of its own."""
        return {}

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        """A value with a default, if JSON has it."""
        inner = self.generate_inner(schema["schema"])
        default = schema.get("default")
        shown = isinstance(default, (str, int, float, bool))
        return {**inner, "default": default} if shown and "$ref" not in inner else inner


def schema_of(model: type[BaseModel]) -> Schema:
    """The schema of a model with all that it is made of under `$defs`; keys have descriptions."""
    found = model.model_json_schema(
        by_alias=True, ref_template="#/$defs/{model}", schema_generator=Writer
    )
    for name, part in [(model.__name__, found), *found.get("$defs", {}).items()]:
        part.pop("title", None)
        part.pop("description", None)
        if "const" in part.get("properties", {}).get("type", {}):
            part["required"] = []  # a step may add what its source lacks
        known = _models_below(model).get(name)
        described = descriptions_of(known) if known is not None else {}
        for key, value in part.get("properties", {}).items():
            value.pop("title", None)
            value.pop("examples", None)
            value.pop("description", None)
            if key in described:
                value["description"] = described[key]
    return found


def descriptions_of(model: type[BaseModel]) -> dict[str, str]:
    """What a model and its bases say of their keys under `Attributes:` in their docstrings."""
    by_name: dict[str, str] = {}
    for part in reversed(model.__mro__):
        text = inspect.cleandoc(part.__doc__ or "").partition("Attributes:\n")[2]
        by_name |= {name: " ".join(words.split()) for name, words in _ATTRIBUTE.findall(text)}
    fields = model.model_fields.items()
    return {
        field.alias or name: _sentence(by_name[name]) for name, field in fields if name in by_name
    }


def _name_of(schema: Any) -> str:
    """The name of a validator."""
    return str(getattr(schema["function"]["function"], "__name__", ""))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."


def _models_below(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """All models by name: those of one schema have different names."""
    found = {model.__name__: model}
    pending: list[type[BaseModel]] = [BaseModel]
    while pending:
        for known in pending.pop().__subclasses__():
            if known.__module__.startswith("flowtoy_dagster."):
                found.setdefault(known.__name__, known)
            pending.append(known)
    return found
