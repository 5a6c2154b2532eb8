"""Parameters: the values that can be chosen when a flow is started (language 15)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from flowtoy_dagster.flow.files.nodes import Mark
from flowtoy_dagster.flow.files.suggestions import NOT_SHOWN, show
from flowtoy_dagster.flow.schema.fields import Misplaced, Name, Strict
from flowtoy_dagster.flow.templates.references import templates_in
from flowtoy_dagster.flow.templates.values import to_json
from flowtoy_dagster.json_text import loads

ParamType = Literal["string", "integer", "number", "boolean", "list", "object"]

_EXPECTED = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "list": "a list",
    "object": "a mapping",
}
_IN_JSON = {"list": ", as JSON such as [1, 2]", "object": ', as JSON such as {"a": 1}'}
_EXACT = 2**53
_QUOTES = "put it in quotes"
_LISTED = ("string", "integer", "number")


class ParamConfig(Strict):
    """A parameter as declared (language 15.1); a value alone is its default.

    Attributes:
        type: what its values are.
        default: its value, if none is given.
        enum: the values that it can have.
        description: for people.
        secret: whether its value is hidden; by default its name decides.
        env: the variable that has its value, if none is given.
    """

    type: ParamType
    default: Any = None
    enum: Annotated[tuple[Any, ...], Field(min_length=1)] | None = None
    description: str | None = None
    secret: bool | None = None
    env: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _infer_type(cls, value: Any) -> Any:
        if value is None:
            raise ValueError(
                "expected a default value, or a declaration such as {type: string}, got nothing"
            )
        declared = value if isinstance(value, dict) else {"default": value}
        if declared.get("type") is not None:
            return declared
        listed = declared.get("enum")
        sample = declared.get("default")
        if sample is None and isinstance(listed, list) and listed:
            sample = listed[0]
        return {**declared, "type": _type_of(sample)}

    @model_validator(mode="after")
    def _check_values(self) -> ParamConfig:
        if self.enum is not None and self.type not in _LISTED:
            words = f"{_QUOTES} where text is meant: NO, yes and on are true or false"
            are_mixed = any(isinstance(value, str) for value in self.enum)
            message = f"a parameter of type '{self.type}' takes no enum"
            raise Misplaced(message, ("enum",), words if are_mixed else None)
        for index, value in enumerate(self.enum or ()):
            problem = why_not(self.type, value)
            if problem is None and value in (self.enum or ())[:index]:
                problem = f"{show(value)} is listed twice"
            if problem is not None:
                hint = self.hint_on(value)
                raise Misplaced(problem, ("enum", index), hint, at_key=False)
        if self.default is not None:
            problem = why_not(self.type, self.default, self.enum)
            hint = self.hint_on(self.default)
            if problem is None and any(templates_in(self.default)):
                problem = "a parameter's default can't be a template"
                hint = "put the template where the parameter is used"
            if problem is not None:
                raise Misplaced(problem, ("default",), hint, at_key=False)
        return self

    def hint_on(self, value: Any) -> str | None:
        """What to do about a value of the wrong type."""
        is_plain = isinstance(value, (bool, int, float)) and self.type == "string"
        return _QUOTES if is_plain else None


@dataclass(frozen=True)
class Param:
    """A parameter of a flow.

    Attributes:
        name: as written.
        config: its declaration.
        secret: whether its value is one.
        mark: where it is declared.
    """

    name: str
    config: ParamConfig
    secret: bool
    mark: Mark

    @property
    def has_default(self) -> bool:
        """Whether it may be left out; its default may be null."""
        return "default" in self.config.model_fields_set

    @property
    def may_be_null(self) -> bool:
        """Whether null is one of its values."""
        return self.has_default and self.config.default is None

    def native(self, value: Any) -> Any:
        """A value as templates see it: Dagster makes every number of a run one with a fraction."""
        whole = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
        return int(value) if whole else value

    def why_not(self, value: Any) -> str | None:
        """Why it can't have a value, or None where it can; without secret values."""
        if value is None and self.may_be_null:
            return None
        problem = why_not(self.config.type, value, self.config.enum)
        return f"expected {_EXPECTED[self.config.type]}" if problem and self.secret else problem

    def read(self, text: str) -> Any:
        """The value that a text stands for, as its type says.

        Raises:
            ValueError: it stands for none; the message has no secret value.
        """
        kind = self.config.type
        value: Any = text
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("it is not UTF-8 text") from None
        if kind != "string":
            try:
                value = loads(text.strip().lower() if kind == "boolean" else text)
            except ValueError:
                hint = _IN_JSON.get(kind, "")
                given = "" if self.secret else f", got {show(text)}"
                raise ValueError(f"expected {_EXPECTED[kind]}{hint}{given}") from None
        if kind in _IN_JSON:
            loads(text, unique_keys=True)
        problem = self.why_not(value)
        if problem is not None:
            raise ValueError(problem)
        return value


def why_not(kind: ParamType, value: Any, enum: tuple[Any, ...] | None = None) -> str | None:
    """Why a value is none of a type, or not one of those that are listed."""
    found = _type_of(value)
    if value is None or not (found == kind or (kind, found) == ("number", "integer")):
        return f"expected {_EXPECTED[kind]}, got {show(value)}"
    if enum is not None and value not in enum:
        given = show(value)
        if given == NOT_SHOWN:  # nor are those that it could be
            return f"{given} is not one of those in 'enum'"
        return f"{given} is not one of {', '.join(map(to_json, enum))}"
    return None


def _type_of(value: Any) -> ParamType:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, (list, tuple)):
        return "list"
    return "object" if isinstance(value, dict) else "string"
