"""Keys at a wrong level: what belongs to a step, to its input, or to its source."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from flowtoy_dagster.flow.compile.catalog import ProviderCatalog
from flowtoy_dagster.flow.files.nodes import KeyPath, Node
from flowtoy_dagster.flow.files.suggestions import several_meant
from flowtoy_dagster.flow.files.synonyms import meanings
from flowtoy_dagster.flow.schema.fields import keys_of
from flowtoy_dagster.flow.schema.for_each import ForEachConfig
from flowtoy_dagster.flow.schema.models import FlowConfig, SourceConfig, StepConfig

_STEP_KEYS = frozenset(keys_of(StepConfig))
_LOOP_KEYS = frozenset(keys_of(ForEachConfig))
_SOURCE_KEYS = frozenset(keys_of(SourceConfig))
_TOP_KEYS = frozenset(keys_of(FlowConfig)) - {"flow"}


class Misplacement:
    """Knows where the keys of a document's steps belong.

    Args:
        root: the document's tree.
        providers: the types of sources.
    """

    def __init__(self, root: Node, providers: ProviderCatalog) -> None:
        self._root = root
        self._providers = providers

    def hint(self, path: KeyPath) -> str | None:
        """What to do about the unknown key that `path` ends with."""
        name = str(path[-1])
        if path[:1] == ("params",) and path[2:] == ("required",):
            return "a parameter that has no 'default' is required"
        if path == ("runner", name) and name in _STEP_KEYS:
            return f"'{name}' belongs to a step"
        if path[:1] != ("flow",):
            return None
        step = self._root.at(path[:2])
        if step is None:
            return None
        if len(path) == 3:
            return self._hint_on_step(step, name)
        if path[2] == "for_each" and name in _STEP_KEYS and step.child(name) is None:
            return f"'{name}' belongs to the step, beside 'for_each'"
        return None

    def _hint_on_step(self, step: Node, name: str) -> str | None:
        """What to do about an unknown key of a step."""
        if name in self._request_keys(step):
            return f"'{name}' belongs under 'input', or in the source"
        if name in _LOOP_KEYS and (step.child("for_each") or name not in _SOURCE_KEYS):
            return f"'{name}' belongs under 'for_each'"
        if name in _SOURCE_KEYS:
            return f"'{name}' belongs to a source, under 'sources'"
        if name in _TOP_KEYS:
            return f"'{name}' belongs to the flow, beside 'flow'"
        return self._providers.key_hint(name)

    def of_input(self, path: KeyPath) -> frozenset[str]:
        """The keys of a step that belong under its `input`."""
        step = self._root.at(path)
        if step is None or not isinstance(step.value, dict):
            return frozenset()
        unknown = step.value.keys() - _STEP_KEYS
        return frozenset(unknown.intersection(self._request_keys(step))) if unknown else frozenset()

    def _request_keys(self, step: Node) -> Collection[str]:
        """The keys of a request to the step's source; none where the source is not known."""
        source = step.child("source")
        source = (source.child("base") or source) if source is not None else None
        if source is not None and isinstance(source.value, str):
            source = self._root.at(("sources", source.value)) or source
        kind = (source.child("type") or source).value if source is not None else None
        if not isinstance(kind, str) or kind not in self._providers.types():
            return ()
        if self._providers.why_unusable(kind):
            return ()
        return self._providers.request_keys(kind) or ()


def hint_on_payload(payload: Any, keys: Collection[str] | None) -> str | None:
    """What an input that is taken for data was meant as, where its source lacks a setting.

    Args:
        payload: the input.
        keys: those of a request to the source; None where its input is always data.
    """
    if not keys or payload is None:
        return None
    if not isinstance(payload, dict):
        return (
            "the input is no mapping, so it is data for the call; write a mapping with the keys of"
            " the call"
        )
    found = [str(name) for name in payload if any(one in keys for one in meanings(str(name)))]
    return several_meant(found, keys) if found else None


def key_of_step(others: Collection[str]) -> str | None:
    """The first of an input's keys that is one of a step; None where none is."""
    return next((name for name in others if name in _STEP_KEYS), None)
