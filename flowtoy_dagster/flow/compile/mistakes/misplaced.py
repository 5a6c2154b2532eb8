"""Keys at a wrong level: what belongs to a step, to its input, or to its source."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from flowtoy_dagster.flow.compile.catalog import ProviderCatalog
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.schema.fields import keys_of
from flowtoy_dagster.flow.schema.models import StepConfig


class Misplacement:
    """Knows where the keys of a document's steps belong.

    Args:
        document: the merged configuration, as plain data.
        providers: the types of sources.
    """

    def __init__(self, document: Any, providers: ProviderCatalog) -> None:
        self._document = document if isinstance(document, Mapping) else {}
        self._providers = providers

    def hint(self, path: KeyPath) -> str | None:
        """What to do about the unknown key that `path` ends with."""
        if len(path) != 3 or path[0] != "flow":
            return None
        name = str(path[2])
        if name in self.of_input(path[:2]):
            return f"'{name}' belongs under 'input', or in the source"
        return self._providers.key_hint(name)

    def of_input(self, path: KeyPath) -> frozenset[str]:
        """The keys of a step that belong under its `input`."""
        step = self._step(path)
        known = keys_of(StepConfig)
        keys = self._request_keys(step.get("source"))
        return frozenset(key for key in step if key in keys and key not in known)

    def _step(self, path: KeyPath) -> Mapping[str, Any]:
        steps = self._document.get(path[0])
        if not isinstance(steps, list) or not 0 <= int(path[1]) < len(steps):
            return {}
        step = steps[int(path[1])]
        return step if isinstance(step, Mapping) else {}

    def _request_keys(self, source: Any) -> Collection[str]:
        sources = self._document.get("sources")
        if isinstance(source, Mapping) and "base" in source:
            source = source["base"]
        if isinstance(source, str) and isinstance(sources, Mapping) and source in sources:
            source = sources[source]
        kind = source.get("type") if isinstance(source, Mapping) else source
        if not isinstance(kind, str) or kind not in self._providers.types():
            return ()
        if self._providers.why_unusable(kind):
            return ()
        return self._providers.request_keys(kind) or ()


def key_of_step(others: Collection[str]) -> str | None:
    """The first of an input's keys that is one of a step; None where none is."""
    known = keys_of(StepConfig)
    return next((name for name in others if name in known), None)
