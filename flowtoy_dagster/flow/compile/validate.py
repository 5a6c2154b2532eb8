"""A document against the models: what is valid of it, and every problem with the rest.

Each part (a source, a step, the runner) is validated by itself, and a part with a mistake keeps
its valid fields, so that one mistake hides no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from flowtoy_dagster.errors import Location, Problem
from flowtoy_dagster.flow.files.loading import NO_FILE, Document
from flowtoy_dagster.flow.files.nodes import Node
from flowtoy_dagster.flow.files.suggestions import nearest, not_showing, show, without_value
from flowtoy_dagster.flow.schema.fields import STATIC, Misplaced, Strict, is_free
from flowtoy_dagster.flow.schema.models import (
    DerivedSource,
    FlowConfig,
    GroupConfig,
    OutputConfig,
    RetryConfig,
    RunnerConfig,
    ScheduleConfig,
    SourceConfig,
    StepConfig,
)
from flowtoy_dagster.flow.schema.params import Param
from flowtoy_dagster.masking.names import is_secret_name

Path = Sequence[str | int]
BROKEN_SOURCE = "<broken>"
UNKNOWN_TYPE = "<unknown>"
_NO_STEP = "'flow' must hold at least one step"

_MODELS_BY_FIELD: dict[str, type[Strict]] = {"output": OutputConfig, "retry": RetryConfig}
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


@dataclass(frozen=True)
class StepDraft:
    """A step as far as it is valid; `broken` names the fields that are not."""

    index: int
    config: StepConfig
    broken: frozenset[str]


@dataclass
class Draft:
    """The valid parts of a document, and the problems found so far.

    `param_names` has the parameters whose declaration has a mistake too; None where it can't be
    told which there are.
    """

    document: Document
    name: str = ""
    sources: dict[str, SourceConfig] = field(default_factory=dict)
    broken_sources: set[str] = field(default_factory=set)
    steps: list[StepDraft] = field(default_factory=list)
    params: dict[str, Param] = field(default_factory=dict)
    param_names: frozenset[str] | None = frozenset()
    schedules: tuple[ScheduleConfig, ...] = ()
    top: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    _told: set[tuple[str, Location | None]] = field(default_factory=set)

    def refuse(
        self,
        path: Path,
        message: str,
        hint: str | None = None,
        *,
        key: bool = False,
        line: int | None = None,
        dependency: bool = False,
    ) -> None:
        """Note a problem at the place of `path`.

        Args:
            path: keys and indexes from the top.
            message: what is wrong.
            hint: how to fix it.
            key: the place of the key rather than of its value.
            line: the line within a template, from 1.
            dependency: told under the heading of invalid dependencies.
        """
        problem = self._problem(path, message, hint, key=key, line=line, dependency=dependency)
        self._add(problem, self.problems)

    def warn(
        self,
        path: Path,
        message: str,
        hint: str | None = None,
        *,
        key: bool = False,
        line: int | None = None,
    ) -> None:
        """Note what stands in no run's way; takes what `refuse` takes."""
        problem = self._problem(path, message, hint, key=key, line=line, dependency=False)
        self._add(problem, self.warnings)

    def _problem(
        self,
        path: Path,
        message: str,
        hint: str | None,
        *,
        key: bool,
        line: int | None,
        dependency: bool,
    ) -> Problem:
        mark = self.document.root.nearest(path, key=key)
        place = mark.location
        message = without_value(message)
        if place.file == NO_FILE:
            shown = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")
            text = f"{shown}: {message}" if shown and not dependency else message
            order = len(self.problems) + len(self.warnings)
            return Problem(text, None, hint, dependency, order)
        if line is not None and mark.block:
            place = Location(place.file, place.line + line, 1)
        elif line is not None and line > 1:
            place = Location(place.file, place.line + line - 1, 1)
        return Problem(message, place, hint, dependency, mark.order)

    def _add(self, problem: Problem, to: list[Problem]) -> None:
        told = (problem.message, problem.location)
        if told not in self._told:
            self._told.add(told)
            to.append(problem)

    def refuse_all(self, error: ValidationError, path: Path, model: type[Strict]) -> None:
        """Note every error that pydantic found in the part at `path`."""
        for detail in error.errors():
            self._refuse_detail(detail, path, model)

    def _refuse_detail(self, detail: ErrorDetails, path: Path, model: type[Strict]) -> None:
        where = (*path, *detail["loc"])
        kind, context = detail["type"], detail.get("ctx", {})
        if kind == "extra_forbidden":
            known = _fields_at(detail["loc"], model)
            message = f"unknown key '{detail['loc'][-1]}'"
            self.refuse(where, message, nearest(str(detail["loc"][-1]), known).hint, key=True)
        elif kind == "missing":
            self.refuse(where[:-1], f"the key '{detail['loc'][-1]}' is required")
        elif kind == "value_error":
            error = context["error"]
            if isinstance(error, Misplaced):
                self.refuse((*where, *error.path), str(error), error.hint, key=error.at_key)
            else:
                self.refuse(where, str(error))
        else:
            with not_showing(_is_secret_place(where)):
                self.refuse(where, *explain(detail))

    def place_of(self, within: Path, places: Sequence[Path]) -> tuple[str | int, ...] | None:
        """Where the configuration key that `within` begins with stands: the first of `places`."""
        for place in places:
            node: Node | None = self.document.root
            for part in place:
                node = node.child(part) if node else None
            if node is None or not within:
                continue
            held = node.child("configuration")
            if node.child(within[0]):
                return tuple(place)
            if held and held.child(within[0]):
                return (*place, "configuration")
        return None


def read_draft(document: Document) -> Draft:
    """Validate a document part by part."""
    draft = Draft(document)
    raw: dict[str, Any] = document.root.plain()
    known = tuple(FlowConfig.model_fields)
    for key in raw:
        if key not in known and not is_free(key):
            draft.refuse((key,), f"unknown key '{key}'", nearest(key, known).hint, key=True)
    _read_top(draft, raw)
    _read_sources(draft, raw.get("sources"))
    _read_steps(draft, raw)
    return draft


def _read_top(draft: Draft, raw: dict[str, Any]) -> None:
    given = {
        key: raw[key]
        for key in ("name", "description", "tags", "runner")
        if raw.get(key) is not None
    }
    given.setdefault("name", draft.document.default_name)
    placeholder = {"flow": [{"name": "step", "source": "env"}]}
    try:
        FlowConfig.model_validate({**given, **placeholder}, context=STATIC)
    except ValidationError as error:
        draft.refuse_all(error, (), FlowConfig)
        given = {k: v for k, v in given.items() if k not in _fields_of(error)}
    draft.name = given.get("name", draft.document.default_name)
    draft.top = given


def _read_sources(draft: Draft, raw: Any) -> None:
    if raw is None:
        return
    if not isinstance(raw, dict):
        draft.refuse(("sources",), f"expected a mapping, got {show(raw)}")
        return
    for name, value in raw.items():
        if is_free(name):
            continue
        spare = {"type": UNKNOWN_TYPE}
        source, broken = salvage(draft, SourceConfig, value, ("sources", name), spare)
        if broken:
            draft.broken_sources.add(name)
        if source:
            draft.sources[name] = source


def _read_steps(draft: Draft, raw: dict[str, Any]) -> None:
    steps = raw.get("flow")
    if steps is None:
        path: tuple[str, ...] = ("flow",) if "flow" in raw else ()
        draft.refuse(path, _NO_STEP, "write 'flow:' and a list of steps")
    elif not isinstance(steps, list):
        draft.refuse(("flow",), f"expected a list of steps, got {show(steps)}")
    elif not steps:
        draft.refuse(("flow",), _NO_STEP)
    else:
        for index, value in enumerate(steps):
            spare = {"name": f"step {index + 1}", "source": BROKEN_SOURCE}
            step, broken = salvage(draft, StepConfig, value, ("flow", index), spare)
            if step:
                draft.steps.append(StepDraft(index, step, broken))


M = TypeVar("M", bound=Strict)


def salvage(
    draft: Draft, model: type[M], value: Any, path: Path, spare: dict[str, Any]
) -> tuple[M | None, frozenset[str]]:
    """The model of a part; where fields are wrong, of the fields that are right."""
    try:
        return model.model_validate(value, context=STATIC), frozenset()
    except ValidationError as error:
        draft.refuse_all(error, path, model)
        broken = _fields_of(error)
    if not isinstance(value, dict):
        return None, broken
    rest = {k: v for k, v in value.items() if k in model.model_fields and k not in broken}
    try:
        return model.model_validate({**spare, **rest}, context=STATIC), broken
    except ValidationError:
        return None, broken


def _is_secret_place(path: Path) -> bool:
    """Whether a value there is a secret; the names of sources and parameters are no keys."""
    if len(path) > 1 and path[-1] == "secret" and "output" in path[2:4]:
        return False  # `secret: true`, a word of the language
    keys = path[2:] if path[:1] in (("sources",), ("params",)) else path
    return any(isinstance(key, str) and is_secret_name(key) for key in keys)


def _fields_of(error: ValidationError) -> frozenset[str]:
    return frozenset(str(detail["loc"][0]) for detail in error.errors() if detail["loc"])


def _fields_at(loc: Sequence[str | int], model: type[Strict]) -> list[str]:
    """The keys that the mapping holding an unknown key may have."""
    if "<derived>" in loc:
        return list(DerivedSource.model_fields)
    for part in loc[:-1]:
        if part == "runner":
            return list((GroupConfig if "groups" in loc[1:-1] else RunnerConfig).model_fields)
        if part in _MODELS_BY_FIELD:
            return list(_MODELS_BY_FIELD[str(part)].model_fields)
    return list(model.model_fields)


def _alternatives(expected: str) -> list[str]:
    return expected.replace(" or ", ", ").split(", ")


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
    message = detail["msg"][0].lower() + detail["msg"][1:]
    limits = detail.get("ctx", {})
    for bound, words in (("ge", "at least"), ("gt", "greater than"), ("le", "at most")):
        if kind.startswith(("greater", "less")) and bound in limits:
            message = f"must be {words} {limits[bound]}"
    return f"{message}, got {show(value)}", None
