"""Fill the generated parts of the references of the status API and of the Python API.

`python docs/generate_api.py` after a change of the status document's schema or of a public
function; a test compares. A part begins with `<!-- generated: NAME -->`, and ends with
`<!-- end -->`.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flowtoy_dagster
from flowtoy_dagster.runs.status.status_document import SCHEMA

REFERENCE = Path(__file__).parent / "reference"
PAGES = (REFERENCE / "status-api.md", REFERENCE / "python-api.md")
_PART = re.compile(r"<!-- generated: (\w+) -->\n.*?<!-- end -->", re.DOTALL)
_SECTION = re.compile(r"^(Args|Returns|Raises):$", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}(\w+): ", re.MULTILINE)
_STATUS = {
    "": "The document:", "step": "A step:", "items": "`items` of a step:",
    "cursor": "`cursor` of a step; its values are texts, secrets are hidden:",
    "cursors": "`items` of such a `cursor`:",
    "span": "A part of a step's `timeline`:",
}
_WORDS = {
    "string": "text", "integer": "whole number", "number": "number", "object": "mapping",
    "array": "list", "null": "null", "boolean": "true or false",
}
_REFERENCES = {
    "time": "number or null", "count": "whole number", "names": "list of texts", "step": "mapping",
}


def text_of(page: Path) -> str:
    """A page with its generated parts as they should be."""
    return _PART.sub(lambda part: _filled(part[1]), page.read_text("utf-8"))


def _filled(name: str) -> str:
    lines = list(_status() if name == "status" else _function(name))
    return "\n".join([f"<!-- generated: {name} -->", "", *lines, "", "<!-- end -->"])


def _status() -> Iterator[str]:
    """The tables of the status document."""
    schema = json.loads(SCHEMA.read_text("utf-8"))
    for name, heading in _STATUS.items():
        part = schema["$defs"][name] if name else schema
        if name:
            yield ""
        yield from (heading, "", "| key | type | what it is |", "|---|---|---|")
        for key, value in part["properties"].items():
            about = value["description"].rstrip(".")
            yield f"| `{key}` | {_type_of(value)} | {about} |"


def _type_of(value: Any) -> str:
    if "$ref" in value:
        return _REFERENCES[value["$ref"].rpartition("/")[2]]
    if "oneOf" in value:
        return "mapping or null"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    kinds = value["type"] if isinstance(value["type"], list) else [value["type"]]
    return " or ".join(_WORDS[kind] for kind in kinds)


def _function(name: str) -> Iterator[str]:
    """A public function: how it is called, its arguments, what it raises."""
    function = getattr(flowtoy_dagster, name)
    parts = _SECTION.split(inspect.getdoc(function) or "")
    sections = {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}
    shown = [_shown(one) for one in inspect.signature(function).parameters.values()]
    first = next((i for i, one in enumerate(inspect.signature(function).parameters.values())
                  if one.kind is one.KEYWORD_ONLY), None)
    if first is not None:
        shown.insert(first, "*")
    yield from (f"**`{name}({', '.join(shown)})`**", "", _joined(sections[""]))
    for title, head in (("Args", "argument | what it is"), ("Raises", "exception | when")):
        entries = list(_entries(sections.get(title, "")))
        if entries:
            yield from ("", f"| {head} |", "|---|---|")
            yield from (f"| `{key}` | {about} |" for key, about in entries)


def _shown(parameter: inspect.Parameter) -> str:
    has_default = parameter.default is not parameter.empty
    return f"{parameter.name}={parameter.default}" if has_default else parameter.name


def _entries(section: str) -> Iterator[tuple[str, str]]:
    """The names of a section of a docstring, each with what it says of it."""
    parts = _ENTRY.split(section.rstrip())
    for name, about in zip(parts[1::2], parts[2::2], strict=True):
        yield name, " ".join(about.split()).rstrip(".").replace("|", "\\|")


def _joined(text: str) -> str:
    paragraphs = (" ".join(each.split()) for each in text.strip().split("\n\n"))
    return "\n\n".join(paragraphs)


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(text_of(each), encoding="utf-8")
