"""A draft and a catalog of kinds to a flow, or to every problem that stands in the way."""

from __future__ import annotations

from dataclasses import replace

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.flow.compile.calls.sources import SourceResolver
from flowtoy_dagster.flow.compile.calls.views import StepViews
from flowtoy_dagster.flow.compile.catalog import Catalog
from flowtoy_dagster.flow.compile.closing import check_closing
from flowtoy_dagster.flow.compile.edges import Links, StepView, connect
from flowtoy_dagster.flow.compile.flow_folder import folder_of
from flowtoy_dagster.flow.compile.mistakes.cursors_of_items import check_cursors
from flowtoy_dagster.flow.compile.mistakes.misplaced import (
    Misplacement,
)
from flowtoy_dagster.flow.compile.mistakes.plain_scalars import warn_of_plain_scalars_elsewhere
from flowtoy_dagster.flow.compile.mistakes.replaced_lists import replaced_steps
from flowtoy_dagster.flow.compile.mistakes.unrendered import warn_of_unrendered
from flowtoy_dagster.flow.compile.mistakes.wrapped_loops import warn_of_wrapped_loop
from flowtoy_dagster.flow.compile.output_options import check_places
from flowtoy_dagster.flow.compile.params import check_queues, declare
from flowtoy_dagster.flow.compile.validate import (
    BROKEN_SOURCE,
    Draft,
    read_draft,
    salvage,
)
from flowtoy_dagster.flow.files.loading import Document
from flowtoy_dagster.flow.graph import ASKED_EVERY, Flow, Notification, Source, Step, Until
from flowtoy_dagster.flow.schema.models import (
    OnError,
    RunnerConfig,
    SourceConfig,
    SourceReference,
    StepConfig,
)


def build_flow(document: Document, catalog: Catalog) -> Flow:
    """Check a document whole and build its flow.

    Raises:
        ConfigError: with all problems, in file order.
    """
    misplacement = Misplacement(document.root, catalog.providers)
    draft = read_draft(document, misplacement.hint)
    declare(draft)
    warn_of_unrendered(draft.problems, document.root)
    warn_of_plain_scalars_elsewhere(draft.problems, document.root)
    flow = _Builder(draft, catalog, misplacement).build()
    if errors := draft.problems.errors:
        raise ConfigError([*errors, *replaced_steps(errors, document)])
    return flow


class _Builder:
    def __init__(self, draft: Draft, catalog: Catalog, misplacement: Misplacement) -> None:
        self.draft = draft
        self.catalog = catalog
        self.sources = SourceResolver(draft, catalog.providers)
        self.views = StepViews(draft, catalog, self.sources, misplacement)
        written = draft.document.root.child("runner")
        # Its mistakes are noted already; what is right of it is checked all the same.
        value = written.plain() if written is not None else None
        valid, _ = salvage(draft, RunnerConfig, {} if value is None else value, ("runner",), {})
        self.runner = valid or RunnerConfig()

    def build(self) -> Flow:
        self.sources.check_named()
        self._check_unique_names()
        check_cursors(self.draft)
        for step in self.draft.steps:
            if step.config.for_each is not None:
                warn_of_wrapped_loop(self.draft.problems, step.path, step.config.for_each)
        self._check_runner()
        views = [self.views.of(step) for step in self.draft.steps]
        self.sources.warn_of_unusable()
        sources = {
            name: Source(
                source.type, source.configuration, name, source.concurrency, source.rate or ()
            )
            for name, source in self.draft.sources.items()
        }
        notified = [self.views.of(each.call) for each in self.draft.notifications]
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
            self.draft.note(finding, ("runner",))
        check_queues(self.draft, self.runner.executor, self.catalog.executors)



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
    every = ASKED_EVERY if config.every is None else config.every
    return Until(config.until, every, config.for_)
