"""What is wrong with text that is no YAML: the place of the mistake, and how to fix it.

libyaml reports where it gave up, in the words of a parser. For the mistakes that people make most,
the place and the reason are looked for in the lines before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

_NO_SPACE = re.compile(r"(?P<indent>\s*(?:- )?)(?P<key>[A-Za-z_][\w-]*):(?P<value>[^\s:/].*)")
_NO_COLON = re.compile(r"(?P<indent>\s*(?:- )?)(?P<key>[A-Za-z_][\w-]*) +(?P<value>\S.*)")
_OPENED = re.compile(r"(?:[:\-]\s+|^\s*)(\{\{|\[|\{|\"|')")
"""A value that begins with what YAML takes for the beginning of a list, mapping or quoted text."""
STRANGE_SPACES = re.compile(r"^[\u00a0\u2000-\u200b\u202f\u205f\u3000\ufeff]+")


@dataclass(frozen=True)
class Mistake:
    """A mistake in a text.

    Attributes:
        index: the character at which it is.
        message: what is wrong.
        hint: how to fix it, where that is likely.
    """

    index: int
    message: str
    hint: str | None = None


def mistake_in(text: str, error: yaml.MarkedYAMLError) -> Mistake | None:
    """The mistake for which a text is no YAML; None where the parser gives no place."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return None
    what = " ".join(filter(None, (error.context, error.problem)))
    before = text[: mark.index + 1]
    if any("\u00a0" in line for line in before.rsplit("\n", 2)[-2:]):
        hint = "there is a non-breaking space (U+00A0) here: write an ordinary space"
        return Mistake(mark.index, f"not valid YAML: {what}", hint)
    if "quoted scalar" in what and "end of stream" in what and error.context_mark:
        return Mistake(error.context_mark.index, "the quote that opens here is not closed")
    if "mapping values are not allowed" in what:
        return _line_without_colon(text, mark) or Mistake(
            mark.index, f"not valid YAML: {what}", "a value that contains ': ' must be quoted"
        )
    if "could not find expected ':'" in what:
        found = _line_without_colon(text, mark)
        if found is not None:
            return found
    if "cannot start any token" in what:
        return _bad_beginning(text, mark, what)
    if "did not find expected '-' indicator" in what or "did not find expected key" in what:
        found = _wrong_indent(text, mark)
        if found is not None:
            return found
    return Mistake(mark.index, f"not valid YAML: {what}", _hint(what, before))


def _line_without_colon(text: str, mark: yaml.Mark) -> Mistake | None:
    """A line that was meant to be `key: value`, before the one at which the parser gave up."""
    start = text.rfind("\n", 0, mark.index) + 1
    begin = text.rfind("\n", 0, max(start - 1, 0)) + 1
    line = text[begin : max(start - 1, begin)]
    found = _NO_SPACE.fullmatch(line)
    if found:
        at = begin + len(found["indent"])
        # The value is not shown: it may be a secret.
        message = f"a space is missing after the ':' of '{found['key']}:'"
        return Mistake(at, message, f"write '{found['key']}: ...'")
    found = _NO_COLON.fullmatch(line)
    if found and not re.search(r":(\s|$)", line):
        at = begin + len(found["indent"])
        message = f"a ':' is missing after '{found['key']}'"
        return Mistake(at, message, f"write '{found['key']}: ...'")
    return None


def _bad_beginning(text: str, mark: yaml.Mark, what: str) -> Mistake:
    character = text[mark.index : mark.index + 1]
    if character == "\t":
        return Mistake(mark.index, f"not valid YAML: {what}", "indent with spaces, not tabs")
    hint = f"a value that begins with '{character}' must be quoted"
    return Mistake(mark.index, f"not valid YAML: {what}", hint if character.strip() else None)


def _wrong_indent(text: str, mark: yaml.Mark) -> Mistake | None:
    """A line that is indented by another number of spaces than the keys above it."""
    begin = text.rfind("\n", 0, mark.index) + 1
    line = text[begin:].split("\n", 1)[0]
    own = len(line) - len(line.lstrip(" "))
    if not re.match(r"\s*[A-Za-z_][\w-]*\s*:(\s|$)", line) or begin + own != mark.index:
        return None
    for above in reversed(text[:begin].split("\n")):
        found = re.match(r"(\s*(?:- )?)[A-Za-z_][\w-]*\s*:", above)
        if found:
            theirs = len(found[1])
            if theirs == own:
                return None
            message = f"this key is indented by {own} spaces, the one above it by {theirs}"
            return Mistake(mark.index, message, "keys of one mapping have the same indentation")
    return None


def _hint(what: str, before: str) -> str | None:
    if "scanning an alias" in what:
        return "a value that begins with '*' must be quoted"
    if "did not find expected key" in what or "unhashable" in what:
        return _hint_on_flow_value(before)
    if "another document" in what:
        return "write the documents into files of their own; several files are merged"
    return None


def _hint_on_flow_value(before: str) -> str | None:
    """What to do where something follows a value in brackets, or a key is expected."""
    line = before.rpartition("\n")[2]
    found = _OPENED.search(line)
    if found is None:
        return None
    shown = "{{" if found[1].startswith("{{") else found[1][0]
    return f"a value that begins with '{shown}' must be quoted"
