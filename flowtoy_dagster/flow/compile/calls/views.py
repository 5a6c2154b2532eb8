"""Steps as their references are looked for: what each calls, and where its parts are written."""

from __future__ import annotations

from collections.abc import Iterator

from flowtoy_dagster.flow.compile.calls.inputs import StepInput, input_of
from flowtoy_dagster.flow.compile.calls.outputs import outputs_of
from flowtoy_dagster.flow.compile.calls.sources import SourceResolver, warn_of_scalars
from flowtoy_dagster.flow.compile.catalog import Catalog, Finding
from flowtoy_dagster.flow.compile.edges import StepView
from flowtoy_dagster.flow.compile.mistakes.misplaced import Misplacement, hint_on_payload
from flowtoy_dagster.flow.compile.validate import Draft, StepDraft
from flowtoy_dagster.flow.files.nodes import KeyPath, merge_configurations
from flowtoy_dagster.flow.graph import Source
from flowtoy_dagster.flow.schema.models import SourceConfig, SourceReference


class StepViews:
    """Makes the views of steps, and notes what is wrong with what they call.

    Args:
        draft: gets the problems.
        catalog: the kinds.
        sources: finds what steps call.
        misplacement: what stands a level too high.
    """

    def __init__(
        self, draft: Draft, catalog: Catalog, sources: SourceResolver, misplacement: Misplacement
    ) -> None:
        self.draft = draft
        self.catalog = catalog
        self.providers = catalog.providers
        self.sources = sources
        self.misplacement = misplacement

    def of(self, step: StepDraft) -> StepView:
        """A step with its source, and with what its input and outputs are for that."""
        path = step.path
        source = None if "source" in step.broken else self.sources.source_of(step)
        view = StepView(
            step,
            outputs_of(self.draft, self.catalog, step, source),
            payload=step.config.input,
            payload_path=(*path, "input"),
        )
        if source is None:
            return view
        known = len(self.draft.problems.errors)
        given = input_of(
            step.config.input, source, (*path, "input"), self.draft, self.providers
        )
        complete = len(self.draft.problems.errors) == known
        # What is a level too high is not missing.
        complete = complete and not self.misplacement.of_input(path)
        view.input_kind = given.kind
        warn_of_scalars(
            self.draft, self.providers, given.path, source.type,
            is_payload=given.kind == "payload",
        )
        configuration = source.configuration
        if given.kind == "request":
            configuration = merge_configurations(configuration, given.value)
            view.payload, view.request_keys = None, frozenset(given.value)
            view.places.append(given.path)
        else:
            view.payload, view.payload_path = given.value, given.path
        for own in _own_place(step):
            view.places.append(own)
            warn_of_scalars(self.draft, self.providers, own, source.type)
        if source.name is not None:
            view.places.append(("sources", source.name))
        for finding in self.providers.check(source.type, configuration, complete):
            place = self.draft.place_of(finding.path, view.places)
            if place is not None or not finding.path:
                # An error of a named source is reported once, at its place there.
                self.draft.note(self._with_hint(finding, source, given), place or path)
        view.source = Source(source.type, configuration, source.name)
        return view

    def _with_hint(self, finding: Finding, source: Source, given: StepInput) -> Finding:
        """A finding; of a call that lacks something, with what its input was meant as."""
        if finding.path or finding.hint or given.kind != "payload":
            return finding
        keys = self.providers.request_keys(source.type)
        return finding._replace(hint=hint_on_payload(given.value, keys))


def _own_place(step: StepDraft) -> Iterator[KeyPath]:
    """Where a step has a configuration of its own besides its input, if it has one."""
    if isinstance(step.config.source, SourceReference):
        yield (*step.path, "source", "override")
    elif isinstance(step.config.source, SourceConfig):
        yield (*step.path, "source")
