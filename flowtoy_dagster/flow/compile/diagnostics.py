"""Errors and warnings with their places, in the words of the language."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from flowtoy_dagster.errors import Location, Problem
from flowtoy_dagster.flow.files.loading import NO_FILE
from flowtoy_dagster.flow.files.nodes import KeyPath, Node, path_text
from flowtoy_dagster.flow.files.suggestions import nearest, not_showing, show, without_value
from flowtoy_dagster.flow.schema.fields import Misplaced, Strict, keys_of, shape_hint
from flowtoy_dagster.flow.schema.for_each import ForEachConfig
from flowtoy_dagster.flow.schema.incremental import IncrementalConfig
from flowtoy_dagster.flow.schema.models import (
    GroupConfig,
    OutputConfig,
    RunnerConfig,
    SourceReference,
    StepConfig,
)
from flowtoy_dagster.flow.schema.retry import RetryConfig
from flowtoy_dagster.flow.templates.render import is_template
from flowtoy_dagster.masking.names import is_secret_name

_MODELS_BY_FIELD: dict[str, type[Strict]] = {
    "for_each": ForEachConfig, "incremental": IncrementalConfig, "output": OutputConfig,
    "retry": RetryConfig,
}
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}
_ABOUT_KEYS = {"extra_forbidden": "unknown key '{key}'", "missing": "the key '{key}' is required"}


class Diagnostics:
    """The errors and warnings of one document, each once.

    Args:
        root: the document's tree, which knows the places.
        key_hint: what to do about an unknown key at a place, where more is known than its name.
    """

    def __init__(
        self, root: Node, key_hint: Callable[[KeyPath], str | None] = lambda path: None
    ) -> None:
        self._root = root
        self._key_hint = key_hint
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self._seen: set[tuple[str, Location | None]] = set()

    def error(
        self,
        path: KeyPath,
        message: str,
        hint: str | None = None,
        *,
        key: bool = False,
        line: int | None = None,
        dependency: bool = False,
    ) -> None:
        """Note an error at the place of `path`.

        Args:
            path: keys and indexes from the top.
            message: what is wrong.
            hint: how to fix it.
            key: the place of the key rather than of its value.
            line: the line within a template, from 1.
            dependency: reported under the heading of invalid dependencies.
        """
        problem = self._problem(path, message, hint, key=key, line=line, dependency=dependency)
        self._add(problem, self.errors)

    def warning(
        self,
        path: KeyPath,
        message: str,
        hint: str | None = None,
        *,
        key: bool = False,
        line: int | None = None,
    ) -> None:
        """Note what prevents no run; takes what `error` takes."""
        problem = self._problem(path, message, hint, key=key, line=line, dependency=False)
        self._add(problem, self.warnings)

    def _problem(
        self,
        path: KeyPath,
        message: str,
        hint: str | None,
        *,
        key: bool,
        line: int | None,
        dependency: bool,
    ) -> Problem:
        mark = self._root.nearest(path, key=key)
        place = self.place(path, line, key=key)
        message = without_value(message)
        if place is None:
            shown = path_text(self._root.present(path))
            text = f"{shown}: {message}" if shown and not dependency else message
            order = len(self.errors) + len(self.warnings)
            return Problem(text, None, hint, dependency, order)
        return Problem(message, place, hint, dependency, mark.order)

    def place(
        self, path: KeyPath, line: int | None = None, *, key: bool = False
    ) -> Location | None:
        """Where a part is; None where the document came from no file.

        Args:
            path: keys and indexes from the top.
            line: the line within a template, from 1.
            key: the place of the key rather than of its value.
        """
        mark = self._root.nearest(path, key=key)
        place = mark.location
        if place.file == NO_FILE:
            return None
        # Elsewhere lines are folded, or written as '\\n': the value's own place is told.
        if line is not None and mark.is_literal:
            return Location(place.file, place.line + line, 1)
        return place

    def _add(self, problem: Problem, to: list[Problem]) -> None:
        seen = (problem.message, problem.location)
        if seen not in self._seen:
            self._seen.add(seen)
            to.append(problem)

    def invalid(self, error: ValidationError, path: KeyPath, model: type[Strict]) -> None:
        """Note every error that pydantic found in the part at `path`."""
        for detail in error.errors():
            self._invalid_value(detail, path, model)

    def _invalid_value(self, detail: ErrorDetails, path: KeyPath, model: type[Strict]) -> None:
        where = (*path, *detail["loc"])
        kind, context = detail["type"], detail.get("ctx", {})
        if kind == "extra_forbidden":
            known = _fields_at(detail["loc"], model)
            message = f"unknown key '{detail['loc'][-1]}'"
            hint = self._key_hint(where) or nearest(str(detail["loc"][-1]), known).hint
            self.error(where, message, hint, key=True)
        elif kind == "missing":
            lacking = f"the key '{detail['loc'][-1]}' is required"
            example = _hint_on_only_key(detail, model) or _hint_on_source(detail)
            example = example or shape_hint(model, detail)
            self.error(where[:-1], lacking, example)
        elif kind == "value_error":
            error = context["error"]
            if isinstance(error, Misplaced):
                self.error((*where, *error.path), str(error), error.hint, key=error.at_key)
            else:
                fix = getattr(error, "hint", None) or hint_on_template(detail, str(error))
                self.error(where, str(error), fix)
        else:
            with not_showing(_is_secret_place(where)):
                wrong, advice = explain(detail)
            advice = advice or hint_on_template(detail, wrong) or shape_hint(model, detail)
            advice = advice or _hint_on_key_of_steps(detail)
            self.error(where, wrong, advice)


def hint_on_template(detail: ErrorDetails, message: str) -> str | None:
    """What to do about a template where a value was expected that none can give.

    Args:
        detail: what pydantic has found.
        message: what is said of it, which shows the value where the value is the mistake.
    """
    value = detail["input"]
    if not is_template(value) or show(value) not in message:
        return None
    return "no template is rendered here: write the value itself"


def _hint_on_key_of_steps(detail: ErrorDetails) -> str | None:
    """What to write where the word is the name of a key: `on_error: retry`."""
    field = StepConfig.model_fields.get(str(detail["input"]))
    if detail["type"] != "literal_error" or field is None or not field.examples:
        return None
    return f"'{detail['input']}' is a key of a step: '{detail['input']}: {field.examples[0]}'"


def _hint_on_only_key(detail: ErrorDetails, model: type[Strict]) -> str | None:
    """What to write where a name is the key: `- fetch: {source: …}`, as other tools have it."""
    found = detail["input"]
    if detail["loc"] != ("name",) or not isinstance(found, dict) or len(found) != 1:
        return None
    only = next(iter(found))
    return None if only in keys_of(model) else f"write the name as a value: '- name: {only}'"


def _hint_on_source(detail: ErrorDetails) -> str | None:
    """What to write where the source of a step says neither its type nor its base."""
    if detail["loc"][-2:] != ("<inline>", "type"):
        return None
    return "write a type, such as 'type: rest'; for a source of 'sources' its name, or 'base: NAME'"


def _is_secret_place(path: KeyPath) -> bool:
    """Whether a value there is a secret; the names of sources and parameters are no keys."""
    if len(path) > 1 and path[-1] == "secret" and {"output", "incremental"} & {*path[2:4]}:
        return False  # `secret: true`, a word of the language
    keys = path[2:] if path[:1] in (("sources",), ("params",)) else path
    return any(isinstance(key, str) and is_secret_name(key) for key in keys)


def _fields_at(loc: Sequence[str | int], model: type[Strict]) -> list[str]:
    """The keys that the mapping holding an unknown key may have."""
    if "<derived>" in loc:
        return keys_of(SourceReference)
    for part in loc[:-1]:
        if part == "runner":
            return keys_of(GroupConfig if "groups" in loc[1:-1] else RunnerConfig)
        if part in _MODELS_BY_FIELD:
            return keys_of(_MODELS_BY_FIELD[str(part)])
    return keys_of(model)


def _alternatives(expected: str) -> list[str]:
    return expected.replace(" or ", ", ").split(", ")


def first_mistake(error: ValidationError) -> tuple[str, str]:
    """The place of the first mistake in a value that was rendered (`a.b[0]`), and what is wrong."""
    detail = error.errors()[0]
    parts = [part for part in detail["loc"] if not str(part).startswith(("function-", "<"))]
    if detail["type"] in _ABOUT_KEYS:
        *around, key = parts
        return path_text(around) or str(key), _ABOUT_KEYS[detail["type"]].format(key=key)
    place = path_text(parts)
    cause = detail.get("ctx", {}).get("error")
    return place, str(cause) if cause is not None else explain(detail)[0]


def explain(detail: ErrorDetails) -> tuple[str, str | None]:
    """What is wrong with a value, in the language's words, and how to fix it."""
    kind, value = detail["type"], detail["input"]
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return f"expected text, got {show(value)}", "put it in quotes"
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, got {show(value)}", None
    if kind == "literal_error":
        expected = [part.strip("'") for part in _alternatives(detail["ctx"]["expected"])]
        message = f"{show(value)} is not one of {', '.join(map(repr, expected))}"
        return message, nearest(value, expected).question if isinstance(value, str) else None
    if kind in ("too_short", "string_too_short"):
        return "must not be empty", None  # no length but 1 is asked for
    message = detail["msg"][0].lower() + detail["msg"][1:]
    limits = detail.get("ctx", {})
    for bound, words in (("ge", "at least"), ("gt", "greater than"), ("le", "at most")):
        if kind.startswith(("greater", "less")) and bound in limits:
            message = f"must be {words} {limits[bound]}"
    return f"{message}, got {show(value)}", None
