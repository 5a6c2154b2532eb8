"""What an item calls and what is taken of the answer, as a hash: by it a retry knows it again."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.graph import Step
from flowtoy_dagster.flow.templates.names import OUTPUT_NAMES, RUN, expression
from flowtoy_dagster.flow.templates.references import free_names, references, templates_in
from flowtoy_dagster.flow.templates.render import in_braces, render
from flowtoy_dagster.json_text import JsonError, dumps
from flowtoy_dagster.providers.kind import what_counts
from flowtoy_dagster.steps.context import StepContext

_HASH_LENGTH = 32


class ItemCalls:
    """The calls of the items of one step.

    Args:
        step: it has a `for_each`.
        scope: what its templates know, without an item.
    """

    def __init__(self, step: Step, scope: Mapping[str, Any]) -> None:
        written: list[Any] = [[output.model_dump(mode="json") for output in step.outputs]]
        if step.incremental is not None:
            written.append(
                step.incremental.model_dump(mode="json", warnings=False, exclude={"commit"})
            )
        templates = [text for _, text in templates_in(written[0])]
        names = {name for template in templates for name in free_names(template)}
        self._of_items = sorted(names - {*OUTPUT_NAMES})
        mentioned = sorted({name for text in templates for name in _mentioned_by(text)})
        self._written = [*written, _values(mentioned, scope)]

    def hash_of(self, context: StepContext) -> str:
        """A hash of what an attempt calls and of the outputs that it takes out of the answer.

        It is also of the values that the templates of outputs know besides the answer, and of where
        a cursor is read.

        Args:
            context: the attempt, whose call is rendered.

        Returns:
            an empty text where JSON can't hold what is called.
        """
        work = context.work
        called = [context.step.source.type, _compared(work.configuration), work.payload]
        try:
            text = dumps([*called, *self._written, _values(self._of_items, context.scope)])
        except JsonError:
            return ""
        return hashlib.sha256(text).hexdigest()[:_HASH_LENGTH]


def _mentioned_by(template: str) -> Iterator[str]:
    """The expressions of a template whose values are not of the answer, nor of the run alone."""
    for found in references(template):
        if found.root != RUN:
            yield expression(found.root, found.step, found.attribute, found.output)


def _values(names: list[str], scope: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(name, scope) for name in names}


def _value(name: str, scope: Mapping[str, Any]) -> Any:
    try:
        return render(in_braces(name), scope, lenient=True)
    except TemplateError as error:
        return str(error)  # it is missing for the same reason the next time


def _compared(value: Any) -> Any:
    """A configuration with plain data in place of what templates were made of."""
    if isinstance(value, Mapping):
        return {key: _compared(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_compared(item) for item in value]
    return _compared(what_counts(value)) if dataclasses.is_dataclass(value) else value
