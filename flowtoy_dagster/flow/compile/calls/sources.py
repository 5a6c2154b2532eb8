"""The source that a step calls."""

from __future__ import annotations

from collections.abc import Collection

from flowtoy_dagster.flow.compile.catalog import ProviderCatalog
from flowtoy_dagster.flow.compile.mistakes.plain_scalars import warn_of_plain_scalars
from flowtoy_dagster.flow.compile.mistakes.single_braces import warn_of_single_braces
from flowtoy_dagster.flow.compile.validate import UNKNOWN_TYPE, Draft, StepDraft
from flowtoy_dagster.flow.files.nodes import KeyPath, merge_configurations
from flowtoy_dagster.flow.files.suggestions import nearest
from flowtoy_dagster.flow.graph import Source
from flowtoy_dagster.flow.schema.fields import is_free
from flowtoy_dagster.flow.schema.models import SourceConfig, SourceReference


class SourceResolver:
    """Finds the sources that steps name, and notes those that can't be used.

    Args:
        draft: gets the problems.
        providers: the types.
    """

    def __init__(self, draft: Draft, providers: ProviderCatalog) -> None:
        self.draft = draft
        self.providers = providers

    def check_named(self) -> None:
        """Note what is wrong with the flow's sources."""
        for name, source in self.draft.sources.items():
            place: KeyPath = ("sources", name)
            if self._knows_type(source.type, place):
                for finding in self.providers.check(source.type, source.configuration, False):
                    self.draft.note(finding, self.draft.place_of(finding.path, [place]) or place)
                warn_of_scalars(self.draft, self.providers, place, source.type)

    def warn_of_unusable(self) -> None:
        """Note the flow's sources whose provider is not usable here."""
        for name, source in self.draft.sources.items():
            if source.type in self.providers.types():
                reason = self.providers.why_unusable(source.type)
                if reason:
                    message = f"source '{name}' can't be used: {reason}"
                    self.draft.problems.warning(("sources", name), message)

    def source_of(self, step: StepDraft) -> Source | None:
        """What a step calls; None where that is not known."""
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
        usual = self.providers.usual_name(name)
        named = name if usual not in types else usual
        question = nearest(named, [*self.draft.sources, *types]).question
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


def warn_of_scalars(
    draft: Draft, providers: ProviderCatalog, path: KeyPath, type_name: str,
    *, is_payload: bool = False,
) -> None:
    """Warn of texts that are hardly meant as they are read, in what is for a provider."""
    problems, root = draft.problems, draft.document.root
    texts = providers.text_keys(type_name)
    if path:
        warn_of_plain_scalars(problems, root, path, texts, is_payload=is_payload)
        warn_of_single_braces(problems, root, path)


def _names(names: Collection[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
