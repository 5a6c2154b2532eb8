"""Which step waits for which, and why (language 8)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flowtoy_dagster.flow.compile.catalog import Catalog
from flowtoy_dagster.flow.compile.cycles import cycles_from
from flowtoy_dagster.flow.compile.mistakes.reference_hints import output_hint, step_hint
from flowtoy_dagster.flow.compile.mistakes.undefined import NameCheck
from flowtoy_dagster.flow.compile.validate import Draft, StepDraft
from flowtoy_dagster.flow.files.nodes import KeyPath, path_text
from flowtoy_dagster.flow.files.suggestions import nearest
from flowtoy_dagster.flow.graph import Dependency, InputKind, Mention, Source
from flowtoy_dagster.flow.schema.models import OutputConfig
from flowtoy_dagster.flow.templates.names import CURSOR_NAMES, INCREMENTAL
from flowtoy_dagster.flow.templates.references import (
    ITEM_ATTRIBUTES,
    Reference,
    TemplateMistake,
    needed,
    references,
    templates_in,
)

EXPLICIT = "depends_on"
_CURSOR = (INCREMENTAL,)


@dataclass
class StepView:
    """A step with its source resolved, and where in the document its parts are.

    Attributes:
        outputs: the outputs, each with its type.
        payload_path: where the payload is.
        places: where a key of the configuration may stand, the strongest first.
    """

    step: StepDraft
    outputs: tuple[OutputConfig, ...] = ()
    source: Source | None = None
    input_kind: InputKind = "none"
    request_keys: frozenset[str] = frozenset()
    payload: Any = None
    payload_path: KeyPath = ()
    places: list[KeyPath] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The step's name as written."""
        return self.step.config.name

    @property
    def item_names(self) -> Collection[str] | None:
        """What all its templates know besides the roots; None where that is not known."""
        if "for_each" in self.step.broken:
            return None
        for_each = self.step.config.for_each
        return for_each.names if for_each is not None else ()

    @property
    def own_names(self) -> Collection[str] | None:
        """What the templates of an attempt know besides the roots; those of its policy don't."""
        if "incremental" in self.step.broken:
            return None
        return _joined(self.item_names, () if self.step.config.incremental is None else _CURSOR)


class Links(NamedTuple):
    """What steps' templates refer to.

    Attributes:
        dependencies: by step index.
        params: the parameters, by step index.
        kept: the steps whose whole result some template names.
    """

    dependencies: Mapping[int, tuple[Dependency, ...]]
    params: Mapping[int, tuple[str, ...]]
    kept: frozenset[str]


class _Mention(NamedTuple):
    reference: Reference
    reason: str
    path: KeyPath
    line: int | None = None
    is_needed: bool = False


def connect(
    draft: Draft,
    catalog: Catalog,
    views: Sequence[StepView],
    sources: Mapping[str, Source],
    notified: Sequence[StepView] = (),
) -> Links:
    """Find every dependency; what can't be is noted in the draft.

    Args:
        draft: what was read.
        catalog: what can be used.
        views: the steps.
        sources: the named sources.
        notified: the calls of notifications, which can depend on no step.
    """
    connector = _Connector(draft, catalog, views, sources)
    connector.check_notifications(notified)
    return connector.connect()


class _Connector:
    def __init__(
        self,
        draft: Draft,
        catalog: Catalog,
        views: Sequence[StepView],
        sources: Mapping[str, Source],
    ) -> None:
        self.draft = draft
        self.catalog = catalog
        self.views = views
        self.step_names = tuple(view.name for view in views)
        self.sources = sources
        self.names = NameCheck(draft, catalog.providers)
        self.by_name = {view.name: view for view in reversed(views)}
        self.kept: set[str] = set()
        self.params: set[str] = set()
        """What the templates read last refer to."""

    def connect(self) -> Links:
        for name, source in self.sources.items():
            names = self._names_known_in(source, complete=False)
            for path, template in templates_in(source.configuration):
                place = self.draft.place_of(path, [("sources", name)]) or ("sources", name)
                for _ in self._read(template, (*place, *path), "", names):
                    pass  # its mistakes are what is wanted here
        waits: dict[int, dict[str, list[_Mention]]] = {}
        params = {}
        for view in self.views:
            self.params.clear()
            waits[view.step.index] = self._waits_for(view)
            params[view.step.index] = tuple(sorted(self.params))
        order = {view.name: view.step.index for view in self.views}
        dependencies = {
            index: tuple(
                self._dependency(name, mentions)
                for name, mentions in sorted(found.items(), key=lambda item: order[item[0]])
            )
            for index, found in waits.items()
        }
        self._report_cycles(dependencies)
        return Links(dependencies, params, frozenset(self.kept))

    def check_notifications(self, views: Sequence[StepView]) -> None:
        """Report what notifications refer to and can't know."""
        for view in views:
            for mention in self._mentions(view):
                message = "a notification knows no steps: it is made when the run has ended"
                hint = "it knows run.state, run.failed, run.error and others"
                self.draft.problems.error(mention.path, message, hint, line=mention.line)

    def _dependency(self, name: str, mentions: Sequence[_Mention]) -> Dependency:
        told = [
            Mention(
                mention.reason,
                None if mention.reason == EXPLICIT else mention.reference.written,
                mention.is_needed and mention.reference.as_needed is not None,
                self.draft.problems.place(mention.path, mention.line),
            )
            for mention in mentions
        ]
        needs = dict.fromkeys(one.name for one in told if one.is_needed and one.name)
        reasons = dict.fromkeys(one.reason for one in told)
        return Dependency(name, tuple(reasons), tuple(needs), tuple(told))

    def _waits_for(self, view: StepView) -> dict[str, list[_Mention]]:
        """The places that name each step that a step waits for."""
        found: dict[str, list[_Mention]] = {}
        missing: dict[str, _Mention] = {}
        for mention in self._mentions(view):
            reference = mention.reference
            names = [reference.step] if reference.step is not None else self._above(view)
            for name in names:
                if name == view.name:
                    self._invalid_dependency(mention, f"Step '{name}' depends on itself")
                elif name not in self.by_name:
                    missing.setdefault(name, mention)
                else:
                    found.setdefault(name, []).append(mention)
                    self._check_output(view, mention)
                    self._check_attribute(mention, self.by_name[name].step)
                    if reference.root == "steps" and reference.attribute in (None, "result"):
                        self.kept.add(name)
        if missing:
            names_text = ", ".join(f"'{name}'" for name in missing)
            hints = dict.fromkeys(step_hint(name, self.step_names, view.name) for name in missing)
            self._invalid_dependency(
                next(iter(missing.values())),
                f"Step '{view.name}' depends on missing step(s): {names_text}",
                "; ".join(hints),
            )
        return found

    def _above(self, view: StepView) -> list[str]:
        return [other.name for other in self.views if other.step.index < view.step.index]

    def _invalid_dependency(self, mention: _Mention, message: str, hint: str | None = None) -> None:
        self.draft.problems.error(mention.path, message, hint, line=mention.line, dependency=True)

    def _check_output(self, view: StepView, mention: _Mention) -> None:
        reference = mention.reference
        if reference.output is None or reference.step is None:
            return
        target = self.by_name[reference.step].step
        outputs = [output.name for output in target.config.output]
        if reference.output in outputs or "output" in target.broken:
            return
        hint = output_hint(reference, outputs)
        self._invalid_dependency(
            mention,
            f"Step '{view.name}' refers to the output '{reference.output}' of step "
            f"'{reference.step}', which has no such output",
            hint,
        )

    def _check_attribute(self, mention: _Mention, target: StepDraft) -> None:
        """Note what a step has not because it is repeated, or because it is not."""
        reference, name = mention.reference, target.config.name
        if reference.root != "steps" or "for_each" in target.broken:
            return
        repeated = target.config.for_each is not None
        if reference.attribute in ITEM_ATTRIBUTES and not repeated:
            message = f"'steps.{name}' has no '{reference.attribute}'"
            hint = "only a step with 'for_each' has it"
        elif reference.attribute == "result" and repeated:
            message = f"'steps.{name}' has no 'result': it is a step with 'for_each'"
            hint = "'items' has what became of each item"
        else:
            return
        self.draft.problems.error(mention.path, message, hint, line=mention.line)

    def _mentions(self, view: StepView) -> Iterator[_Mention]:
        config, path = view.step.config, view.step.path
        items = view.own_names
        yield from self._item_mentions(view)
        yield from self._cursor_mentions(view)
        for index, name in enumerate(config.depends_on):
            yield _Mention(Reference("steps", name, attribute="state"), EXPLICIT,
                           (*path, EXPLICIT, index))
        if config.when is not None:
            yield from self._read(config.when, (*path, "when"), "when", items)
        for within, template in templates_in(view.payload):
            place, label = (*view.payload_path, *within), path_text(within, "input")
            yield from self._read(template, place, label, items)
        if view.source is not None:
            names = _joined(items, self._names_known_in(view.source, complete=True))
            for within, template in templates_in(view.source.configuration):
                place = self.draft.place_of(within, view.places) or path
                is_input = place[2:3] == ("input",)
                label = path_text(within, "input" if is_input else "source")
                yield from self._read(template, (*place, *within), label, names)
        for index, output in enumerate(view.outputs):
            kind = output.type or ""
            names = _joined(items, self.catalog.outputs.template_names(kind))
            for within, template in self.catalog.outputs.templates(output):
                where = (*path, "output", index, *within)
                yield from self._read(template, where, f"output {output.name}", names)
        retry = config.retry.model_dump(warnings=False) if config.retry else None
        if config.until is not None:
            names = _joined(items, self.catalog.outputs.template_names("template"))
            yield from self._read(config.until, (*path, "until"), "until", names)
        timing = {"timeout": config.timeout, "every": config.every, "for": config.for_}
        for within, template in templates_in({"retry": retry, **timing}):
            yield from self._read(template, (*path, *within), path_text(within), view.item_names)

    def _item_mentions(self, view: StepView) -> Iterator[_Mention]:
        """What `for_each` itself refers to; only the key's template knows the item."""
        for_each = view.step.config.for_each
        if for_each is None:
            return
        written = for_each.model_dump(by_alias=True, warnings=False)
        for within, template in templates_in(written):
            names = for_each.names if within == ("key",) else ()
            place = ("flow", view.step.index, "for_each", *within)
            yield from self._read(template, place, path_text(within, "for_each"), names)

    def _cursor_mentions(self, view: StepView) -> Iterator[_Mention]:
        """What `incremental` itself refers to; the new value's template knows what was read."""
        incremental = view.step.config.incremental
        if incremental is None:
            return
        names = _joined(view.own_names, self.catalog.outputs.template_names("template"))
        for within, template in templates_in(incremental.model_dump(warnings=False)):
            known = _joined(names, CURSOR_NAMES) if within == ("value",) else view.item_names
            place = (*view.step.path, "incremental", *within)
            yield from self._read(template, place, path_text(within, "incremental"), known)

    def _names_known_in(self, source: Source, *, complete: bool) -> Collection[str] | None:
        return self.catalog.providers.template_names(source.type, source.configuration, complete)

    def _read(
        self, template: str, path: KeyPath, reason: str, names: Collection[str] | None = ()
    ) -> Iterator[_Mention]:
        """The mentions in a template; those of sources it names count as its own.

        Args:
            template: one of the configuration's.
            path: where it is.
            reason: why its step depends on what it mentions.
            names: what it knows besides the roots; None where any name may be missing.
        """
        pending, seen = [template], {template}
        while pending:
            current = pending.pop()
            try:
                found = references(current)
            except TemplateMistake as mistake:
                self.draft.problems.error(path, str(mistake), mistake.hint, line=mistake.line)
                continue
            if current == template:
                self.names.check(template, path, names)
            for reference in sorted(found, key=str):
                if reference.root in ("flows", "steps"):
                    # What a source's other keys refer to is settled when they are rendered.
                    is_own = current == template
                    is_needed = is_own and names is not None and reference in needed(current)
                    line = reference.line if is_own else None
                    yield _Mention(reference, reason, path, line, is_needed)
                elif reference.root == "params":
                    line = reference.line if current == template else None
                    self._take_param(reference.step, path, line)
                elif reference.root == "sources":
                    inner = set(self._templates_of(reference)) - seen
                    seen |= inner
                    pending += sorted(inner)

    def _take_param(self, name: str | None, path: KeyPath, line: int | None) -> None:
        known = self.draft.param_names
        if known is None:
            return  # which exist is unknown, and an error already
        if name is None:
            self.params |= known
        elif name in known:
            self.params.add(name)
        elif line is not None:
            # In a source that the template names, the error is at its place there.
            hint = nearest(name, known).hint if known else "declare it under 'params'"
            self.draft.problems.error(path, f"there is no parameter '{name}'", hint, line=line)

    def _templates_of(self, reference: Reference) -> Iterator[str]:
        """The templates of the sources that a mention of `sources` stands for."""
        for name in self.sources if reference.step is None else [reference.step]:
            source = self.sources.get(name)
            for _, template in templates_in(source.configuration if source else None):
                yield template

    def _report_cycles(self, dependencies: Mapping[int, tuple[Dependency, ...]]) -> None:
        waits = {
            view.name: [d.step for d in dependencies[view.step.index] if d.step != view.name]
            for view in self.views
        }
        done: set[str] = set()
        for start in waits:
            if start not in done:
                for cycle in cycles_from(start, waits, done):
                    path = " -> ".join(cycle)
                    view = self.by_name[cycle[0]]
                    self.draft.problems.error(
                        ("flow", view.step.index, "name"),
                        f"Steps wait for each other in a cycle: {path}",
                        "take one of these dependencies away",
                        dependency=True,
                    )


def _joined(
    some: Collection[str] | None, more: Collection[str] | None
) -> Collection[str] | None:
    """The names of both; None where any name may be missing in one of them."""
    return None if some is None or more is None else (*some, *more)
