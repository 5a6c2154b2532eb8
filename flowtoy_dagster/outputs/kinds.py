"""Which types of outputs there are, and what they say of a value."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from flowtoy_dagster.entry_points import Kinds, KindUnusable
from flowtoy_dagster.flow.compile.catalog import Finding, OutputTraits
from flowtoy_dagster.flow.compile.model_check import model_findings
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.files.suggestions import nearest, show
from flowtoy_dagster.flow.schema.fields import keys_of
from flowtoy_dagster.flow.schema.models import OUTPUT_KEYS, OutputConfig
from flowtoy_dagster.flow.templates.references import templates_in
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
        "file": "flowtoy_dagster.outputs.file.kind:FileOutput",
    },
    output_kind_of,
)


_FILES = frozenset({"csv", "parquet", "jsonl", "ndjson", "path"})
_OF_VALUES = frozenset({
    "list", "array", "number", "int", "integer", "float", "bool", "boolean", "dict", "object",
    "mapping", "any", "value",
})
_TEXTS = frozenset({"text", "string", "str", "stdout", "lines", "plain"})

def type_for(value: Any) -> str:
    """The type of an output that names none: the built-in one that its value fits."""
    return next(name for name in OUTPUTS.builtin if OUTPUTS[name].fits(value))


class InstalledOutputs:
    """The output types of this Python, as `flow.compile.catalog` asks for them."""

    def type_for(self, value: Any) -> str:
        """The type of an output that names none."""
        return type_for(value)

    def check(self, output: OutputConfig, names_files: bool) -> list[Finding]:
        """What is wrong with an output, as findings within it."""
        type_name, value = output.type or "", output.value
        if type_name not in OUTPUTS.names():
            listed = ", ".join(f"'{name}'" for name in OUTPUTS.names())
            message = f"{show(type_name)} is not one of {listed}"
            hint = nearest(type_name, OUTPUTS.names()).question or ""
            if type_name in _TEXTS:
                hint = "for what a command printed, leave out 'type' and write 'value: stdout'"
            elif type_name in _FILES:
                hint = "write 'type: file' and the format beside it"
            elif type_name in _OF_VALUES:
                hint = "an output is of the type that its value has: leave out 'type'"
            return [Finding(("type",), message, hint)]
        reason = OUTPUTS.why_unusable(type_name)
        if reason is not None:
            return [Finding(("type",), reason)]
        kind = OUTPUTS[type_name]
        wrong = [*_wrong_options(kind, output), *_wrong_use(kind, value)]
        if wrong:
            return wrong
        try:
            if value is not None:
                list(kind.templates(value))
                wrong = [_within_value(finding) for finding in kind.check(value)]
            return [*wrong, *kind.check_options(value, output.options, names_files)]
        except Exception as error:
            logger.debug("the output type '%s' can't check", type_name, exc_info=True)
            reason = f"{type(error).__name__}: {error}"
            return [Finding((), f"the output type '{type_name}' can't check this: {reason}")]

    def templates(self, output: OutputConfig) -> list[tuple[KeyPath, str]]:
        """The templates in an output, each with its place in it."""
        try:
            kind = OUTPUTS[output.type or ""]
            found = [
                (("value", *path), text)
                for path, text in kind.templates(output.value)
                if isinstance(text, str)
            ]
        except (KeyError, KindUnusable):
            return []
        except Exception:  # noqa: BLE001 - `check` reports it
            found = []
        return [*found, *templates_in(output.options)]

    def traits(self, type_name: str) -> OutputTraits:
        """What outputs of a type may be."""
        try:
            kind = OUTPUTS[type_name]
        except (KeyError, KindUnusable):
            return OutputTraits()
        return OutputTraits(kind.can_be_secret, kind.item_options)

    def template_names(self, type_name: str) -> Collection[str] | None:
        """What these templates know besides the roots; None where any name may be missing."""
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
        advice = "leave out 'type': a 'value' is JMESPath, or a template where it has {{ }}"
        return [Finding((), f"an output of type '{kind.name}' takes no 'value'", advice)]
    if not kind.value_is_text or isinstance(value, str):
        return []
    hint = "put it in quotes" if isinstance(value, (bool, int, float)) else None
    return [Finding(("value",), f"expected text, got {show(value)}", hint)]


def _wrong_options(kind: OutputKind, output: OutputConfig) -> list[Finding]:
    if output.secret and not kind.can_be_secret:
        hint = "what it holds is shown as any other data; leave 'secret' out"
        return [Finding(("secret",), f"an output of type '{kind.name}' can't be secret", hint)]
    if kind.options_model is not None:
        return model_findings(kind.options_model, output.options, outer_keys=OUTPUT_KEYS)
    return [
        Finding((key,), f"unknown key '{key}'", _key_hint(str(key)), key=True)
        for key in output.options
    ]


def _key_hint(key: str) -> str | None:
    for name in OUTPUTS.builtin:
        model = OUTPUTS[name].options_model
        if model is not None and key in keys_of(model):
            return f"an output of 'type: {name}' has it"
    return nearest(key, OUTPUT_KEYS).hint


def _within_value(finding: Finding) -> Finding:
    if not isinstance(finding, Finding):
        raise TypeError(f"'check' must give Findings, got {finding!r}")
    return finding._replace(path=("value", *finding.path))
