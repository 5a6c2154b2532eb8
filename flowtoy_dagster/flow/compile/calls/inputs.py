"""What a step's input is for its source: a request, a payload, or nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from flowtoy_dagster.flow.compile.catalog import ProviderCatalog
from flowtoy_dagster.flow.compile.mistakes.misplaced import key_of_step
from flowtoy_dagster.flow.compile.validate import Draft
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.files.suggestions import several_meant
from flowtoy_dagster.flow.files.synonyms import meanings
from flowtoy_dagster.flow.graph import InputKind, Source
from flowtoy_dagster.flow.schema.fields import is_free

_PARAMETER_TYPES = {
    "parameter": "value", "value": "value", "filter": "template", "body": "template",
}


class StepInput(NamedTuple):
    """An input and what it is.

    Attributes:
        path: where it is written.
    """

    kind: InputKind
    value: Any = None
    path: KeyPath = ()


def input_of(
    value: Any, source: Source, path: KeyPath, draft: Draft, providers: ProviderCatalog
) -> StepInput:
    """What an input is for the source; a mixture is noted as an error.

    Args:
        value: the input as written; None where there is none.
        source: what is called.
        path: where it is written.
        draft: gets the problems.
        providers: the types.
    """
    if value is None:
        return StepInput("none")
    keys = providers.request_keys(source.type)
    if not isinstance(value, dict):
        return StepInput("payload", value, path)
    key = _PARAMETER_TYPES.get(value["type"]) if isinstance(value.get("type"), str) else None
    if key is not None and set(value) == {"type", key}:
        return StepInput("payload", value[key], (*path, key))
    modes = providers.payload_keys(source.type)
    if keys is None or any(source.configuration.get(mode) is not None for mode in modes):
        return StepInput("payload", value, path)
    named = [name for name in value if not is_free(name)]
    others = [name for name in named if name not in keys]
    if not named or len(others) == len(named):
        _warn_of_other_words(value, named, keys, source, path, draft)
        return StepInput("payload", value, path)
    if not others:
        return StepInput("request", {name: value[name] for name in named}, path)
    _note_mixture(others, keys, source, path, draft)
    return StepInput("none", value, path)


def _note_mixture(
    others: Sequence[str], keys: Collection[str], source: Source, path: KeyPath, draft: Draft
) -> None:
    """Note why an input that has request keys may not have others."""
    of_step = key_of_step(others)
    if of_step is not None:
        message = f"'{of_step}' is a key of the step, not of its input"
        hint = "move it one level to the left"
        draft.problems.error((*path, of_step), message, hint, key=True)
        return
    listed = ", ".join(f"'{name}'" for name in others)
    question = several_meant(others, keys)
    hint = question or (
        "a payload has none of the provider's request keys, a request nothing else; "
        "for a payload with such names write {type: value, value: {...}}"
    )
    message = f"the input mixes request keys of '{source.type}' with others: {listed}"
    draft.problems.error((*path, others[0]), message, hint, key=True)


def _warn_of_other_words(
    value: dict[str, Any], named: Sequence[str], keys: Collection[str], source: Source,
    path: KeyPath, draft: Draft,
) -> None:
    """Warn of a payload that looks like a request in another tool's words."""
    if not named or not all(isinstance(value[name], (dict, list)) for name in named):
        return
    if any(set(keys).isdisjoint(meanings(name)) for name in named):
        return
    message = f"the input has no key of a request of '{source.type}', so all of it is data"
    hint = f"{several_meant(named, keys)} for data write {{type: value, value: {{...}}}}"
    draft.problems.warning((*path, named[0]), message, hint)
