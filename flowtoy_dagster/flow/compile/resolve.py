"""A draft and a catalog of kinds to a flow, or to every problem that stands in the way."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.flow.compile.catalog import Catalog, Finding
from flowtoy_dagster.flow.compile.closing import check_closing
from flowtoy_dagster.flow.compile.edges import Links, StepView, connect
from flowtoy_dagster.flow.compile.flow_folder import folder_of
from flowtoy_dagster.flow.compile.mistakes.cursors_of_items import check_cursors
from flowtoy_dagster.flow.compile.mistakes.misplaced import (
    Misplacement,
    hint_on_payload,
    key_of_step,
)
from flowtoy_dagster.flow.compile.mistakes.plain_scalars import warn_of_plain_scalars
from flowtoy_dagster.flow.compile.mistakes.replaced_lists import replaced_steps
from flowtoy_dagster.flow.compile.output_options import check_places, item_findings
from flowtoy_dagster.flow.compile.params import check_queues, declare
from flowtoy_dagster.flow.compile.validate import (
    BROKEN_SOURCE,
    UNKNOWN_TYPE,
    Draft,
    StepDraft,
    read_draft,
    salvage,
)
from flowtoy_dagster.flow.files.loading import Document
from flowtoy_dagster.flow.files.nodes import KeyPath, merge_configurations
from flowtoy_dagster.flow.files.suggestions import nearest, several_meant
from flowtoy_dagster.flow.graph import Flow, InputKind, Notification, Source, Step, Until
from flowtoy_dagster.flow.schema.fields import STATIC, is_free
from flowtoy_dagster.flow.schema.models import (
    OnError,
    OutputConfig,
    RunnerConfig,
    SourceConfig,
    SourceReference,
    StepConfig,
)

_PARAMETER_TYPES = {
    "parameter": "value", "value": "value", "filter": "template", "body": "template",
}


def build_flow(document: Document, catalog: Catalog) -> Flow:
    """Check a document whole and build its flow.

    Raises:
        ConfigError: with all problems, in file order.
    """
    misplacement = Misplacement(document.root, catalog.providers)
    draft = read_draft(document, misplacement.hint)
    declare(draft)
    flow = _Builder(draft, catalog, misplacement).build()
    if errors := draft.problems.errors:
        raise ConfigError([*errors, *replaced_steps(errors, document)])
    return flow


@dataclass(frozen=True)
class _Input:
    kind: InputKind
    value: Any = None
    path: KeyPath = ()


class _Builder:
    def __init__(self, draft: Draft, catalog: Catalog, misplacement: Misplacement) -> None:
        self.draft = draft
        self.misplacement = misplacement
        self.catalog = catalog
        self.providers = catalog.providers
        written = draft.document.root.child("runner")
        # Its mistakes are noted already; what is right of it is checked all the same.
        value = written.plain() if written is not None else None
        valid, _ = salvage(draft, RunnerConfig, {} if value is None else value, ("runner",), {})
        self.runner = valid or RunnerConfig()

    def build(self) -> Flow:
        for name, source in self.draft.sources.items():
            if self._knows_type(source.type, ("sources", name)):
                place: KeyPath = ("sources", name)
                for finding in self.providers.check(source.type, source.configuration, False):
                    self._note(finding, self.draft.place_of(finding.path, [place]) or place)
                self._warn_of_scalars(place, source.type)
        self._check_unique_names()
        check_cursors(self.draft)
        self._check_runner()
        views = [self._view(step) for step in self.draft.steps]
        self._warn_of_unusable_sources()
        sources = {
            name: Source(
                source.type, source.configuration, name, source.concurrency, source.rate or ()
            )
            for name, source in self.draft.sources.items()
        }
        notified = [self._view(each.call) for each in self.draft.notifications]
        links = connect(self.draft, self.catalog, views, sources, notified)
        check_closing(self.draft, views, links)
        check_places(self.draft, views, self.catalog.outputs)
        top = self.draft.top
        return Flow(
            name=self.draft.name,
            steps=tuple(self._step(view, links) for view in views),
            sources=sources,
            runner=self.runner,
            config=self.draft.document.root.plain(),
            description=top.get("description"),
            tags={key: str(value) for key, value in (top.get("tags") or {}).items()},
            params=self.draft.params,
            notifications=tuple(
                Notification(frozenset(draft.config.on), _call(view))
                for draft, view in zip(self.draft.notifications, notified, strict=True)
            ),
            schedules=self.draft.schedules,
            folder=folder_of(self.draft, self.runner), files=self.draft.document.files,
            warnings=tuple(sorted(self.draft.problems.warnings, key=lambda warning: warning.order)),
            written=self.draft.document.root,
        )

    def _step(self, view: StepView, links: Links) -> Step:
        config = view.step.config
        return replace(
            _call(view),
            outputs=view.outputs,
            dependencies=links.dependencies[view.step.index],
            on_error=self._on_error(config),
            retry=config.retry,
            timeout=config.timeout,
            description=config.description,
            tags=config.tags,
            keep_result=config.name in links.kept,
            group=config.group,
            queue=config.queue,
            pool=config.pool or self._pool_of(config.source),
            params=links.params[view.step.index],
            when=config.when,
            run_if=config.run_if or "success",
            for_each=config.for_each,
            incremental=config.incremental,
            until=_until(config),
        )

    def _on_error(self, config: StepConfig) -> OnError:
        said = config.on_error or self.runner.on_error
        # What runs after failures changes nothing about how the run ends (language 19.3).
        is_closing = config.run_if not in (None, "success")
        return "skip" if is_closing and said == "fail" else said

    def _pool_of(self, written: str | SourceConfig | SourceReference) -> str | None:
        if isinstance(written, SourceConfig):
            return written.pool
        name = written.base if isinstance(written, SourceReference) else written
        found = self.draft.sources.get(name)
        return found.pool if found else None

    def _check_unique_names(self) -> None:
        first: dict[str, int] = {}
        for step in self.draft.steps:
            name = step.config.name
            if name in first:
                other = self.draft.document.root.nearest(("flow", first[name], "name")).location
                message = f"there is a step '{name}' already, at {other}"
                hint = "give each step a name of its own"
                self.draft.problems.error(("flow", step.index, "name"), message, hint)
            first.setdefault(name, step.index)
            seen: set[str] = set()
            for index, output in enumerate(step.config.output):
                if output.name in seen:
                    message = f"step '{name}' has an output '{output.name}' already"
                    place = ("flow", step.index, "output", index, "name")
                    self.draft.problems.error(place, message)
                seen.add(output.name)

    def _check_runner(self) -> None:
        options = self.runner.executor_options
        for finding in self.catalog.executors.check(self.runner.executor, options):
            self._note(finding, ("runner",))
        check_queues(self.draft, self.runner.executor, self.catalog.executors)

    def _written_outputs(self, step: StepDraft) -> list[tuple[int, OutputConfig]]:
        """The outputs that are valid by themselves, each with its place."""
        if "output" not in step.broken:
            return list(enumerate(step.config.output))
        node = self.draft.document.root.child("flow")
        for part in (step.index, "output"):
            node = node.child(part) if node is not None else None
        written = node.plain() if node is not None else None
        found = []
        for index, value in enumerate(written if isinstance(written, list) else ()):
            with contextlib.suppress(ValueError):
                found.append((index, OutputConfig.model_validate(value, context=STATIC)))
        return found

    def _outputs(self, step: StepDraft, source: Source | None) -> tuple[OutputConfig, ...]:
        """The outputs with their types, checked."""
        typed = []
        names_files = source is not None and self.providers.names_files(source.type)
        for index, written in self._written_outputs(step):
            kind = written.type or self.catalog.outputs.type_for(written.value)
            output = written.model_copy(update={"type": kind})
            findings = self.catalog.outputs.check(output, names_files)
            traits = self.catalog.outputs.traits(kind)
            findings += item_findings(output, traits, step.config.for_each)
            if not traits.can_be_secret:
                output = output.model_copy(update={"secret": False})
            for finding in findings:
                self._note(finding, ("flow", step.index, "output", index))
            typed.append(output)
        return tuple(typed)

    def _view(self, step: StepDraft) -> StepView:
        path = step.path
        source = None if "source" in step.broken else self._resolve(step)
        view = StepView(
            step,
            self._outputs(step, source),
            payload=step.config.input,
            payload_path=(*path, "input"),
        )
        if source is None:
            return view
        known = len(self.draft.problems.errors)
        given = self._classify(step.config.input, source, (*path, "input"))
        complete = len(self.draft.problems.errors) == known
        # What is a level too high is not missing.
        complete = complete and not self.misplacement.of_input(path)
        view.input_kind = given.kind
        self._warn_of_scalars(given.path, source.type, is_payload=given.kind == "payload")
        configuration = source.configuration
        if given.kind == "request":
            configuration = merge_configurations(configuration, given.value)
            view.payload, view.request_keys = None, frozenset(given.value)
            view.places.append(given.path)
        else:
            view.payload, view.payload_path = given.value, given.path
        written = step.config.source
        if isinstance(written, SourceReference):
            view.places.append((*path, "source", "override"))
        elif isinstance(written, SourceConfig):
            view.places.append((*path, "source"))
        if source.name is not None:
            view.places.append(("sources", source.name))
        for finding in self.providers.check(source.type, configuration, complete):
            place = self.draft.place_of(finding.path, view.places)
            if place is not None or not finding.path:
                # An error of a named source is reported once, at its place there.
                self._note(self._with_hint(finding, source, given), place or path)
        view.source = Source(source.type, configuration, source.name)
        return view

    def _warn_of_scalars(
        self, path: KeyPath, type_name: str, *, is_payload: bool = False
    ) -> None:
        problems, root = self.draft.problems, self.draft.document.root
        texts = self.providers.text_keys(type_name)
        if path:
            warn_of_plain_scalars(problems, root, path, texts, is_payload=is_payload)

    def _with_hint(self, finding: Finding, source: Source, given: _Input) -> Finding:
        """A finding; of a call that lacks something, with what its input was meant as."""
        if finding.path or finding.hint or given.kind != "payload":
            return finding
        keys = self.providers.request_keys(source.type)
        return replace(finding, hint=hint_on_payload(given.value, keys))

    def _note(self, finding: Finding, place: KeyPath) -> None:
        note = self.draft.problems.warning if finding.warning else self.draft.problems.error
        where = (*place, *finding.path)
        note(where, finding.message, finding.hint, key=finding.key, line=finding.line)

    def _resolve(self, step: StepDraft) -> Source | None:
        written = step.config.source
        path: KeyPath = (*step.path, "source")
        if isinstance(written, SourceConfig):
            usable = self._knows_type(written.type, path) and self._can_use(written.type, path)
            return Source(written.type, written.configuration) if usable else None
        if isinstance(written, SourceReference):
            name, override, path = written.base, written.override, (*path, "base")
        else:
            name, override = written, {}
        found = self.draft.sources.get(name)
        if found is not None and name not in self.draft.broken_sources:
            if found.type not in self.providers.types() or not self._can_use(found.type, path):
                return None
            merged = merge_configurations(found.configuration, override)
            return Source(found.type, merged, name)
        if name in self.draft.broken_sources:
            return None
        if isinstance(written, str) and name in self.providers.types():
            return Source(name, {}) if self._can_use(name, path) else None
        message = f"there is no source '{name}'"
        self.draft.problems.error(path, message, self._source_hint(name, written))
        return None

    def _source_hint(self, name: str, written: object) -> str:
        if is_free(name):
            return "keys that begin with 'x-' are notes, not sources"
        types = self.providers.types() if isinstance(written, str) else ()
        question = nearest(name, [*self.draft.sources, *types]).question
        if question:
            return question
        return f"sources: {_names(self.draft.sources)}; provider types: {_names(types)}"

    def _knows_type(self, type_name: str, path: KeyPath) -> bool:
        if type_name in self.providers.types():
            return True
        if type_name != UNKNOWN_TYPE:
            known = f"the types are {_names(self.providers.types())}"
            usual = self.providers.usual_name(type_name)
            question = nearest(usual, self.providers.types()).question
            hint = f"{question} {known}" if question else known
            message = f"there is no provider type '{type_name}'"
            self.draft.problems.error((*path, "type"), message, hint)
        return False

    def _can_use(self, type_name: str, path: KeyPath) -> bool:
        reason = self.providers.why_unusable(type_name)
        if reason:
            self.draft.problems.error(path, reason)
        return reason is None

    def _warn_of_unusable_sources(self) -> None:
        for name, source in self.draft.sources.items():
            if source.type in self.providers.types():
                reason = self.providers.why_unusable(source.type)
                if reason:
                    message = f"source '{name}' can't be used: {reason}"
                    self.draft.problems.warning(("sources", name), message)

    def _classify(self, value: Any, source: Source, path: KeyPath) -> _Input:
        if value is None:
            return _Input("none")
        keys = self.providers.request_keys(source.type)
        if not isinstance(value, dict):
            return _Input("payload", value, path)
        key = _PARAMETER_TYPES.get(value["type"]) if isinstance(value.get("type"), str) else None
        if key is not None and set(value) == {"type", key}:
            return _Input("payload", value[key], (*path, key))
        modes = self.providers.payload_keys(source.type)
        if keys is None or any(source.configuration.get(mode) is not None for mode in modes):
            return _Input("payload", value, path)
        named = [name for name in value if not is_free(name)]
        others = [name for name in named if name not in keys]
        if not named or len(others) == len(named):
            return _Input("payload", value, path)
        if not others:
            return _Input("request", {name: value[name] for name in named}, path)
        of_step = key_of_step(others)
        if of_step is not None:
            message = f"'{of_step}' is a key of the step, not of its input"
            hint = "move it one level to the left"
            self.draft.problems.error((*path, of_step), message, hint, key=True)
            return _Input("none", value, path)
        listed = ", ".join(f"'{name}'" for name in others)
        question = several_meant(others, keys)
        hint = question or (
            "a payload has none of the provider's request keys, a request nothing else; "
            "for a payload with such names write {type: value, value: {...}}"
        )
        message = f"the input mixes request keys of '{source.type}' with others: {listed}"
        self.draft.problems.error((*path, others[0]), message, hint, key=True)
        return _Input("none", value, path)


def _call(view: StepView) -> Step:
    """A step that only calls its source: all of a notification, and the beginning of any."""
    source = view.source or Source(BROKEN_SOURCE, {})
    return Step(
        view.step.index, view.name, source, input_kind=view.input_kind,
        request_keys=view.request_keys, payload=view.payload,
    )


def _until(config: StepConfig) -> Until | None:
    if config.until is None:
        return None
    every = Until.every if config.every is None else config.every
    return Until(config.until, every, config.for_)


def _names(names: Collection[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
