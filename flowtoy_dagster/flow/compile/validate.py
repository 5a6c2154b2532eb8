"""A document against the models: what is valid of it, and every problem with the rest.

Each part (a source, a step, the runner) is validated by itself, and a part with a mistake keeps
its valid fields, so that one mistake hides no other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError, create_model

from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.compile.diagnostics import Diagnostics
from flowtoy_dagster.flow.files.loading import Document
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.files.suggestions import nearest, show
from flowtoy_dagster.flow.files.synonyms import meanings
from flowtoy_dagster.flow.schema.fields import STATIC, Strict, is_free, keys_of
from flowtoy_dagster.flow.schema.models import (
    FlowConfig,
    NotifyConfig,
    RunnerConfig,
    ScheduleConfig,
    SourceConfig,
    StepConfig,
)
from flowtoy_dagster.flow.schema.params import Param

BROKEN_SOURCE = "<broken>"
UNKNOWN_TYPE = "<unknown>"
_FILES = frozenset({"include", "includes", "import", "imports", "extends"})
"""Keys under which other tools have the files that belong to a file."""
_OF_THE_WHOLE = ("name", "description", "tags", "runner")
"""The keys at the top that are no lists of parts."""
_NO_STEP = "'flow' must hold at least one step"


@dataclass(frozen=True)
class StepDraft:
    """A step as far as it is valid; `broken` names the fields that are not."""

    index: int
    config: StepConfig
    broken: frozenset[str]
    section: str = "flow"

    @property
    def path(self) -> KeyPath:
        """Where it is in the document."""
        return (self.section, self.index)


class NotificationDraft(NamedTuple):
    """A notification as far as it is valid; its call is checked as a step's is."""

    config: NotifyConfig
    call: StepDraft


@dataclass
class Draft:
    """The valid parts of a document; `problems` has the errors and warnings found so far.

    `param_names` has the parameters whose declaration has a mistake too; None where it can't be
    shown the known ones.
    """

    document: Document
    name: str = ""
    sources: dict[str, SourceConfig] = field(default_factory=dict)
    broken_sources: set[str] = field(default_factory=set)
    steps: list[StepDraft] = field(default_factory=list)
    notifications: list[NotificationDraft] = field(default_factory=list)
    params: dict[str, Param] = field(default_factory=dict)
    param_names: frozenset[str] | None = frozenset()
    schedules: tuple[ScheduleConfig, ...] = ()
    top: dict[str, Any] = field(default_factory=dict)
    key_hint: Callable[[KeyPath], str | None] = lambda path: None

    def __post_init__(self) -> None:
        self.problems = Diagnostics(self.document.root, self.key_hint)

    def place_of(self, within: KeyPath, places: Sequence[KeyPath]) -> KeyPath | None:
        """Where the configuration key that `within` begins with stands: the first of `places`."""
        for place in places:
            node = self.document.root.at(place)
            if node is None or not within:
                continue
            held = node.child("configuration")
            if node.child(within[0]):
                return tuple(place)
            if held and held.child(within[0]):
                return (*place, "configuration")
        return None

    def note(self, finding: Finding, place: KeyPath) -> None:
        """Note what the catalog has found in the value at a place."""
        note = self.problems.warning if finding.warning else self.problems.error
        where = (*place, *finding.path)
        note(where, finding.message, finding.hint, key=finding.key, line=finding.line)


def read_draft(
    document: Document, key_hint: Callable[[KeyPath], str | None] = lambda path: None
) -> Draft:
    """Validate a document part by part.

    Args:
        document: the merged configuration.
        key_hint: what to do about an unknown key at a place; see `Diagnostics`.
    """
    draft = Draft(document, key_hint=key_hint)
    raw: dict[str, Any] = document.root.plain()
    known = tuple(FlowConfig.model_fields)
    for key in raw:
        if key not in known and not is_free(key):
            draft.problems.error((key,), f"unknown key '{key}'", _hint_on_top(key, known), key=True)
    _read_top(draft, raw)
    _read_sources(draft, raw.get("sources"))
    _read_steps(draft, raw)
    _read_notifications(draft, raw.get("notify"))
    return draft


def _hint_on_top(key: str, known: Sequence[str]) -> str:
    """What to write for an unknown key at the top."""
    if key in keys_of(RunnerConfig):
        return f"'{key}' belongs under 'runner'"
    if key in _FILES:
        return "several files are merged where they are given: flowtoy run base.yaml local.yaml"
    return nearest(key, known).hint


@functools.cache
def _model_of_the_whole() -> type[Strict]:
    """What `FlowConfig` says of the whole flow; to build all of it would take twice the time."""
    fields = FlowConfig.model_fields
    keys: dict[str, Any] = {key: (fields[key].annotation, fields[key]) for key in _OF_THE_WHOLE}
    return create_model("WholeConfig", __base__=Strict, **keys)


def _read_top(draft: Draft, raw: dict[str, Any]) -> None:
    given = {key: raw[key] for key in _OF_THE_WHOLE if raw.get(key) is not None}
    given.setdefault("name", draft.document.default_name)
    try:
        _model_of_the_whole().model_validate(given, context=STATIC)
    except ValidationError as error:
        draft.problems.invalid(error, (), FlowConfig)
        given = {k: v for k, v in given.items() if k not in _fields_of(error)}
    draft.name = given.get("name", draft.document.default_name)
    draft.top = given


def _read_sources(draft: Draft, raw: Any) -> None:
    if raw is None:
        return
    if not isinstance(raw, dict):
        hint = "write a name for each: sources: {api: {type: rest}}"
        draft.problems.error(("sources",), f"expected a mapping, got {show(raw)}", hint)
        return
    for name, value in raw.items():
        if is_free(name):
            continue
        if not isinstance(value, dict):
            hint = f"write {name}: {{type: ...}}"
            message = f"expected a mapping, got {show(value)}"
            draft.problems.error(("sources", name), message, hint)
            draft.broken_sources.add(name)
            continue
        spare = {"type": UNKNOWN_TYPE}
        source, broken = salvage(draft, SourceConfig, value, ("sources", name), spare)
        if broken:
            draft.broken_sources.add(name)
        if source:
            draft.sources[name] = source


def _read_steps(draft: Draft, raw: dict[str, Any]) -> None:
    steps = raw.get("flow")
    if steps is None and "flow" not in raw and any("flow" in meanings(key) for key in raw):
        return  # the list of steps has another name, which is reported
    if steps is None:
        path: tuple[str, ...] = ("flow",) if "flow" in raw else ()
        draft.problems.error(path, _NO_STEP, "write 'flow:' and a list of steps")
    elif not isinstance(steps, list):
        hint = "write flow: [{name: first, source: ...}], a list with a mapping for each step"
        draft.problems.error(("flow",), f"expected a list of steps, got {show(steps)}", hint)
    elif not steps:
        draft.problems.error(("flow",), _NO_STEP)
    else:
        for index, value in enumerate(steps):
            spare = {"name": f"step {index + 1}", "source": BROKEN_SOURCE}
            step, broken = salvage(draft, StepConfig, value, ("flow", index), spare)
            if step:
                draft.steps.append(StepDraft(index, step, broken))


def _read_notifications(draft: Draft, raw: Any) -> None:
    if raw is None:
        return
    if not isinstance(raw, list):
        message = f"expected a list of notifications, got {show(raw)}"
        draft.problems.error(("notify",), message, "write notify: [{on: failure, source: ...}]")
        return
    for index, value in enumerate(raw):
        spare = {"on": "failure", "source": BROKEN_SOURCE}
        config, broken = salvage(draft, NotifyConfig, value, ("notify", index), spare)
        if config is not None:
            name = f"notification {index + 1}"
            call = StepConfig(name=name, source=config.source, input=config.input)
            draft.notifications.append(
                NotificationDraft(config, StepDraft(index, call, broken, "notify"))
            )


M = TypeVar("M", bound=Strict)


def salvage(
    draft: Draft, model: type[M], value: Any, path: KeyPath, spare: dict[str, Any]
) -> tuple[M | None, frozenset[str]]:
    """The model of a part; where fields are wrong, of the fields that are right."""
    try:
        return model.model_validate(value, context=STATIC), frozenset()
    except ValidationError as error:
        draft.problems.invalid(error, path, model)
        broken = _fields_of(error)
    if not isinstance(value, dict):
        return None, broken
    rest = {k: v for k, v in value.items() if k in keys_of(model) and k not in broken}
    try:
        return model.model_validate({**spare, **rest}, context=STATIC), broken
    except ValidationError:
        return None, broken


def _fields_of(error: ValidationError) -> frozenset[str]:
    return frozenset(str(detail["loc"][0]) for detail in error.errors() if detail["loc"])
