"""Write docs/llms.txt: the pages of these docs for language models, each with its first sentence.

`python docs/generate_llms.py` after a change of a page's title or beginning; a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

DOCS = Path(__file__).parent
PAGE = DOCS / "llms.txt"
HEAD = """\
# flowtoy-dagster

> Data integration jobs as YAML: HTTP APIs and commands as steps, with retries, loops, conditions,
> pages, rates and secrets. One command runs a flow; the same file is a job in a Dagster deployment.

To write a flow, read the first page: it has the whole language. Then `flowtoy validate flow.yaml`
says what is wrong, with places, and `flowtoy test` tests it without calling anything.

- [The language on one page](reference/language-on-one-page.md)
"""
_NO_TEXT = re.compile(r"<!--.*?-->|^```.*?^```", re.DOTALL | re.MULTILINE)
_SENTENCE = re.compile(r"(.+?[.:])(?: [A-Z`]|$)")


def beginning_of(path: Path) -> tuple[str, str]:
    """The title of a page, and its first sentence."""
    text = _NO_TEXT.sub("", path.read_text(encoding="utf-8"))
    title, _, rest = text.partition("\n")
    paragraphs = (" ".join(part.split()) for part in rest.split("\n\n"))
    first = next((part for part in paragraphs if part and part[0] not in "|`#!-"), "")
    first = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", first)
    match = _SENTENCE.match(first)
    return title.lstrip("# "), match[1].rstrip(":") if match else first


def pages_of(nav: list[object]) -> Iterator[tuple[str, list[str]]]:
    """The sections of the navigation, each with its pages in order."""
    for entry in nav:
        assert isinstance(entry, dict)
        for name, value in entry.items():
            yield name, [value] if isinstance(value, str) else list(_paths(value))


def _paths(entries: list[object]) -> Iterator[str]:
    for entry in entries:
        values = entry.values() if isinstance(entry, dict) else [entry]
        for value in values:
            yield from [value] if isinstance(value, str) else _paths(value)


def text() -> str:
    """The whole file."""
    settings = yaml.safe_load((DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"))
    lines = [HEAD]
    for section, paths in pages_of(settings["nav"]):
        own = [path for path in paths if (DOCS / path).exists() and path != "index.md"]
        if own:
            lines.append(f"## {section}\n")
            for path in own:
                title, sentence = beginning_of(DOCS / path)
                lines.append(f"- [{title}]({path}): {sentence}")
            lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
