"""Write docs/reference/schema.md from the JSON Schema of flows.

`python docs/generate_schema.py` after a change of a key; a test compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowtoy_dagster.json_schema.flow_schema import flow_schema

PAGE = Path(__file__).parent / "reference" / "schema.md"
HEAD = """\
# All keys of a flow

<!-- Written by docs/generate_schema.py; change the docstrings of the models, not this file. -->

Every key, with its type and default, from the JSON Schema that `flowtoy schema` prints for
[editors](../how-to/use-an-editor.md). What the keys do is in [the language](language.md), by
section. A template (`{{ … }}`) may stand for most values. Keys that begin with `x-` are yours.

The keys of sources and of `input` are those of the provider: [rest](providers/rest.md), its
[pages](providers/rest-pages.md) and [authentication](providers/rest-auth.md),
[process](providers/process.md), [env](providers/env.md).
"""
SECTIONS = {
    "": ("A flow", ""),
    "StepConfig": ("A step", "`flow[]`"),
    "SourceConfig": ("A source", "`sources.<name>`, or `source` of a step"),
    "SourceReference": ("A changed source", "`source` of a step"),
    "OutputConfig": ("An output", "`output[]` of a step"),
    "ForEachConfig": ("A loop", "`for_each` of a step"),
    "IncrementalConfig": ("An incremental load", "`incremental` of a step"),
    "RetryConfig": ("Retries", "`retry` of a step"),
    "ParamConfig": ("A parameter", "`params.<name>`"),
    "ScheduleConfig": ("A schedule", "`schedule`, or one of its list"),
    "NotifyConfig": ("A notification", "`notify[]`"),
    "RunnerConfig": ("The runner", "`runner`"),
    "GroupConfig": ("A group", "`runner.groups.<name>`"),
}
_SPECIAL = {
    "source": "text or mapping", "input": "anything", "for_each": "list, template or mapping",
    "when": "expression", "until": "expression", "executor": "text", "type": "text",
    "on": "text or list", "max_failures": "number or share", "lag": "duration or number",
}


def type_of(value: Any) -> str:
    """What may be written for a key, in words."""
    if "$ref" in value:
        return "mapping"
    if "enum" in value:
        return ", ".join(f"`{json.dumps(one)}`".replace('"', "") for one in value["enum"]
                         if one is not None)
    if "const" in value:
        return f"`{value['const']}`"
    if "anyOf" in value:
        words = [type_of(one) for one in value["anyOf"] if not is_template(one)]
        kept = list(dict.fromkeys(word for word in words if word not in ("", "null")))
        lists = [word for word in kept if word.startswith("list of ") and word[8:] in kept]
        kept = [word for word in kept if word not in lists]
        return (" or ".join(kept) or "anything") + (", or a list of them" if lists else "")
    if "examples" in value and 30 in value["examples"]:
        return "duration"
    if value.get("examples") == ["10/s"]:
        return "rate"
    kind = value.get("type", "")
    if isinstance(kind, list):
        return " or ".join(_WORDS[one] for one in kind)
    if kind == "array":
        inner = type_of(value.get("items", {}))
        return f"list of {inner}" if inner not in ("", "anything") else "list"
    return _WORDS.get(kind, "anything")


_WORDS = {"string": "text", "integer": "whole number", "number": "number", "object": "mapping",
          "boolean": "true or false", "null": "null", "array": "list"}  # fmt: skip


def is_template(value: Any) -> bool:
    """Whether a form is the one of templates, or of a number in quotes."""
    return value.get("type") == "string" and "pattern" in value and "examples" not in value


def duration_or(key: str, value: Any) -> str:
    """The type of a key, with a word for what is hard to tell from a schema."""
    if key in _SPECIAL:
        return _SPECIAL[key]
    return "duration" if "500ms" in json.dumps(value) else type_of(value)


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_sections(flow_schema())])


def _sections(schema: Any) -> Iterator[str]:
    for name, (title, place) in SECTIONS.items():
        part = schema["$defs"][name] if name else schema
        required = set(part.get("required", ()))
        yield f"## {title}\n"
        if place:
            yield f"{place}:\n"
        yield "| key | type | what it is | default |"
        yield "|---|---|---|---|"
        for key, value in part["properties"].items():
            default = value.get("default")
            shown = "" if default is None else f"`{json.dumps(default)}`".replace('"', "")
            shown = "required" if key in required else shown
            about = value.get("description", "").rstrip(".").replace("|", "\\|")
            yield f"| `{key}` | {duration_or(key, value)} | {about} | {shown} |"
        yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
