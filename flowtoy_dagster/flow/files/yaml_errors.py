"""What is wrong with text that is no YAML: the place of the mistake, and how to fix it.

libyaml reports where it gave up, in the words of a parser. For the mistakes that people make most,
the place and the reason are looked for in the lines before.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

import yaml

from flowtoy_dagster.flow.files.yaml_lines import (
    BLOCK,
    comment_in_brackets,
    dash_without_blank,
    less_indented_text,
    strange_character,
)
from flowtoy_dagster.flow.files.yaml_words import TWICE, in_plain_words, wrong_indent

# Compiled where a text is no YAML.
_NO_SPACE = r"(?P<indent>\s*(?:- )?)(?P<key>[A-Za-z_][\w-]*):(?P<value>[^\s:/].*)"
_NO_COLON = r"(?P<indent>\s*(?:- )?)(?P<key>[A-Za-z_][\w-]*) +(?P<value>\S.*)"
_ENDS_EARLY = r"""(?:[:\-\[{,]\s*)(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')([^\S\n]*)([^\s,\]}:#])"""
"""A text in quotes, and what follows it without a comma."""
_WIDE_COLON = "\uff1a"
_OPENING = "[{\"'"
_OPENED = r"(?:[:\-]\s+|^\s*)(\{\{|\[|\{|\"|')"
"""A value that begins with what YAML takes for the beginning of a list, mapping or quoted text."""
_STRANGE_SPACES = re.compile(r"^[\u00a0\u2000-\u200b\u202f\u205f\u3000\ufeff]+")
_KEY_AND_VALUE = re.compile(r"([A-Za-z_][\w.-]*):([^\s/].*)", re.DOTALL)


class Mistake(NamedTuple):
    """A mistake in a text.

    Attributes:
        at: the number of the character at which it is.
        message: what is wrong.
        hint: how to fix it, where that is likely.
    """

    at: int
    message: str
    hint: str | None = None


def mistake_in(text: str, error: yaml.MarkedYAMLError) -> Mistake | None:
    """The mistake for which a text is no YAML; None where the parser gives no place."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return None
    what = " ".join(filter(None, (error.context, error.problem)))
    before = text[: mark.index + 1]
    message, hint = in_plain_words(text, error) or (what, None)
    hint = hint or _hint(what, before)
    if found := _by_characters(text, mark, what):
        return found
    if "quoted scalar" in what and "end of stream" in what and error.context_mark:
        return _quote_within(text, error.context_mark) or Mistake(
            error.context_mark.index, "the quote that opens here is not closed"
        )
    return _of_lines(text, mark, what) or Mistake(mark.index, f"not valid YAML: {message}", hint)


def mistake_of_key(key: yaml.ScalarNode, value: yaml.Node) -> tuple[str, str] | None:
    """What is wrong with a key that is another text than it looks, and how to fix it.

    Args:
        key: the key.
        value: what it has.
    """
    if key.style in ("'", '"'):
        return None
    strange = _STRANGE_SPACES.match(key.value)
    if strange:
        code = f"U+{ord(strange[0][0]):04X}"
        message = f"the line begins with spaces of another kind ({code})"
        return message, "indent with ordinary spaces"
    found = _KEY_AND_VALUE.fullmatch(key.value)
    has_none = isinstance(value, yaml.ScalarNode) and not (value.value or value.style)
    # What follows the ':' is not shown: it may be a secret.
    if found and (has_none or found[2][0] in _OPENING):
        return _without_space(found[1])
    return None


def _without_space(key: str) -> tuple[str, str]:
    return f"a space is missing after the ':' of '{key}:'", f"write '{key}: ...'"


def refused_character(text: str, error: yaml.YAMLError) -> Mistake:
    """A character that no YAML may hold; libyaml gives its place in bytes."""
    code = getattr(error, "character", None)
    index = text.find(chr(code)) if isinstance(code, int) else -1
    if code is None or index < 0:
        return Mistake(0, f"not valid YAML: {getattr(error, 'reason', None) or error}")
    kind = "control character" if unicodedata.category(text[index]) == "Cc" else "character"
    escape = f"\\x{code:02X}" if code <= 0xFF else f"\\u{code:04X}"
    return Mistake(
        index, f"not valid YAML: the {kind} U+{code:04X} is not allowed",
        f"delete it, or write {escape} in double quotes",
    )


def _by_characters(text: str, mark: yaml.Mark, what: str) -> Mistake | None:
    """A character that is another one than it looks, or a comment that was meant as a text."""
    found = strange_character(text, mark.index)
    if found is None and ("expected node content" in what or "did not find expected ','" in what):
        found = comment_in_brackets(text, mark.index)
    return Mistake(*found) if found else None


def _quote_within(text: str, mark: yaml.Mark) -> Mistake | None:
    """A quote of the same line within which the same quote is used."""
    begin = text.rfind("\n", 0, mark.index) + 1
    found = re.search(_ENDS_EARLY, text[begin : mark.index])
    if found is None:
        return None
    return Mistake(begin + found.start(2), f"the text in quotes ends before '{found[2]}'", TWICE)


def _of_lines(text: str, mark: yaml.Mark, what: str) -> Mistake | None:
    """A mistake that the beginnings of lines show."""
    found = None
    is_second_colon = "mapping values are not allowed" in what
    if is_second_colon:
        found = _key_without_space(text, mark)
    if found is None and (is_second_colon or "could not find expected ':'" in what):
        found = _line_without_colon(text, mark)
    is_layout = (
        is_second_colon or "did not find expected '-' indicator" in what
        or "did not find expected key" in what
    )
    if found is None and (is_layout or "could not find expected ':'" in what):
        dash = dash_without_blank(text, mark.index)
        found = Mistake(*dash) if dash else None
    if found is None and is_layout:
        indent = less_indented_text(text, mark.index) or wrong_indent(text, mark)
        found = Mistake(*indent) if indent else None
    if found is None and is_second_colon:
        begin = text.rfind("\n", 0, mark.index) + 1
        above = text[: max(begin - 1, 0)].rstrip()
        start = above.rfind("\n") + 1
        is_there = re.search(r":\s", text[begin : mark.index]) or re.search(r":\s", above[start:])
        if above and not is_there:
            start += len(above[start:]) - len(above[start:].lstrip())
            hint = f"'{_WIDE_COLON}' (U+FF1A) is another character than ':'"
            is_wide = _WIDE_COLON in above[start:]
            return Mistake(start, "a ':' is missing in this line", hint if is_wide else None)
        message = "not valid YAML: a second ': ' in a line that has one"
        return Mistake(mark.index, message, "a value that contains ': ' must be quoted")
    return found


def _key_without_space(text: str, mark: yaml.Mark) -> Mistake | None:
    """A key in the line of a place whose ':' a list, a mapping or a text in quotes follows."""
    begin = text.rfind("\n", 0, mark.index) + 1
    found = re.match(_NO_SPACE, text[begin:])
    if found is None or found["value"][0] not in _OPENING:
        return None
    return _missing_space(begin, found)


def _missing_space(begin: int, found: re.Match[str]) -> Mistake:
    return Mistake(begin + len(found["indent"]), *_without_space(found["key"]))


def _line_without_colon(text: str, mark: yaml.Mark) -> Mistake | None:
    """A line that was meant to be `key: value`, before the one at which the parser gave up."""
    start = text.rfind("\n", 0, mark.index) + 1
    begin = text.rfind("\n", 0, max(start - 1, 0)) + 1
    line = text[begin : max(start - 1, begin)]
    found = re.fullmatch(_NO_SPACE, line)
    if found:
        return _missing_space(begin, found)
    opened = re.search(BLOCK, text[: max(begin - 1, 0)])
    if opened:
        at = begin + len(line) - len(line.lstrip())
        message = f"the text of '{opened[1]}' is not indented more than its key"
        return Mistake(at, message, "indent each of its lines by two more spaces")
    found = re.fullmatch(_NO_COLON, line)
    if found and not re.search(r":(\s|$)", line):
        at = begin + len(found["indent"])
        message = f"a ':' is missing after '{found['key']}'"
        return Mistake(at, message, f"write '{found['key']}: ...'")
    return None


def _hint(what: str, before: str) -> str | None:
    if "did not find expected key" in what or "unhashable" in what:
        return _hint_on_flow_value(before)
    return None


def _hint_on_flow_value(before: str) -> str | None:
    """What to do where something follows a value in brackets, or a key is expected."""
    line = before.rpartition("\n")[2]
    found = re.search(_OPENED, line)
    if found is None:
        return None
    shown = "{{" if found[1].startswith("{{") else found[1][0]
    return f"a value that begins with '{shown}' must be quoted"
