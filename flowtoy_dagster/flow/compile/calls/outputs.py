"""The outputs of a step, each with its type."""

from __future__ import annotations

import contextlib

from flowtoy_dagster.flow.compile.catalog import Catalog
from flowtoy_dagster.flow.compile.output_options import item_findings
from flowtoy_dagster.flow.compile.validate import Draft, StepDraft
from flowtoy_dagster.flow.graph import Source
from flowtoy_dagster.flow.schema.fields import STATIC
from flowtoy_dagster.flow.schema.models import OutputConfig


def outputs_of(
    draft: Draft, catalog: Catalog, step: StepDraft, source: Source | None
) -> tuple[OutputConfig, ...]:
    """The outputs of a step with their types; what is wrong with them is noted."""
    typed = []
    names_files = source is not None and catalog.providers.names_files(source.type)
    for index, written in _written(draft, step):
        kind = written.type or catalog.outputs.type_for(written.value)
        output = written.model_copy(update={"type": kind})
        findings = catalog.outputs.check(output, names_files)
        traits = catalog.outputs.traits(kind)
        findings += item_findings(output, traits, step.config.for_each)
        if not traits.can_be_secret:
            output = output.model_copy(update={"secret": False})
        for finding in findings:
            draft.note(finding, ("flow", step.index, "output", index))
        typed.append(output)
    return tuple(typed)


def _written(draft: Draft, step: StepDraft) -> list[tuple[int, OutputConfig]]:
    """The outputs that are valid by themselves, each with its place."""
    if "output" not in step.broken:
        return list(enumerate(step.config.output))
    node = draft.document.root.at(("flow", step.index, "output"))
    written = node.plain() if node is not None else None
    found = []
    for index, value in enumerate(written if isinstance(written, list) else ()):
        with contextlib.suppress(ValueError):
            found.append((index, OutputConfig.model_validate(value, context=STATIC)))
    return found
