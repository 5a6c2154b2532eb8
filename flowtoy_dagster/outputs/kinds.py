"""Which types of outputs there are, and what they say of a value."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from flowtoy_dagster.entry_points import Kinds, KindUnusable
from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.files.suggestions import nearest, show
from flowtoy_dagster.outputs.kind import OutputKind, output_kind_of

logger = logging.getLogger("flowtoy.outputs")

OUTPUTS: Kinds[OutputKind] = Kinds(
    "flowtoy.outputs",
    "output type",
    {
        "raw": "flowtoy_dagster.outputs.raw:RawOutput",
        "json": "flowtoy_dagster.outputs.json:JsonOutput",
        "jmespath": "flowtoy_dagster.outputs.jmespath:JmespathOutput",
        "template": "flowtoy_dagster.outputs.template:TemplateOutput",
    },
    output_kind_of,
)


def type_for(value: Any) -> str:
    """The type of an output that names none: the built-in one that its value fits."""
    return next(name for name in OUTPUTS.builtin if OUTPUTS[name].fits(value))


class InstalledOutputs:
    """The output types of this Python, as `flow.compile.catalog` asks for them."""

    def type_for(self, value: Any) -> str:
        """The type of an output that names none."""
        return type_for(value)

    def check(self, type_name: str, value: Any) -> list[Finding]:
        """What is wrong with an output, as findings within it."""
        if type_name not in OUTPUTS.names():
            listed = ", ".join(f"'{name}'" for name in OUTPUTS.names())
            message = f"{show(type_name)} is not one of {listed}"
            return [Finding(("type",), message, nearest(type_name, OUTPUTS.names()).question)]
        reason = OUTPUTS.why_unusable(type_name)
        if reason is not None:
            return [Finding(("type",), reason)]
        kind = OUTPUTS[type_name]
        wrong = _wrong_use(kind, value)
        if wrong or value is None:
            return wrong
        try:
            list(kind.templates(value))
            return [_within_value(finding) for finding in kind.check(value)]
        except Exception as error:
            logger.debug("the output type '%s' can't check", type_name, exc_info=True)
            reason = f"{type(error).__name__}: {error}"
            return [Finding((), f"the output type '{type_name}' can't check this: {reason}")]

    def templates(self, type_name: str, value: Any) -> list[tuple[KeyPath, str]]:
        """The templates in a value, each with its place in the value."""
        try:
            return list(OUTPUTS[type_name].templates(value))
        except (KeyError, KindUnusable):
            return []
        except Exception:  # noqa: BLE001 - `check` reports it
            return []

    def template_names(self, type_name: str) -> Collection[str] | None:
        """What these templates know beside the roots; None where any name may be missing."""
        try:
            return OUTPUTS[type_name].template_names
        except (KeyError, KindUnusable):
            return None


def _wrong_use(kind: OutputKind, value: Any) -> list[Finding]:
    if value is None:
        if not (kind.takes_value and kind.needs_value):
            return []
        return [Finding((), f"an output of type '{kind.name}' needs a 'value'")]
    if not kind.takes_value:
        return [Finding((), f"an output of type '{kind.name}' takes no 'value'")]
    if not kind.value_is_text or isinstance(value, str):
        return []
    hint = "put it in quotes" if isinstance(value, (bool, int, float)) else None
    return [Finding(("value",), f"expected text, got {show(value)}", hint)]


def _within_value(finding: Finding) -> Finding:
    if not isinstance(finding, Finding):
        raise TypeError(f"'check' must give Findings, got {finding!r}")
    return replace(finding, path=("value", *finding.path))
