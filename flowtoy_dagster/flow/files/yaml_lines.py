"""Mistakes that the lines of a text show, and libyaml reports elsewhere or in other words."""

from __future__ import annotations

import re

Found = tuple[int, str, str | None]
"""The character at which a mistake is, what is wrong, and how to fix it."""

# Compiled where a text is no YAML.
BLOCK = r":[ \t]+([|>])[-+0-9]*[ \t]*(?:#.*)?\Z"
"""The end of a line after which a text of several lines begins."""
_QUOTED = r"""'(?:[^'\n]|'')*'|"(?:[^"\\\n]|\\.)*\""""
_STRANGE = r"[\u00a0\u00ad\u2000-\u200f\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]"
_NO_BLANK = r"(?P<indent>\s*)-[^\s-].*"
_DASHES = r"\s*(?P<dash>[\u2010-\u2015\u2212\u2022\u00b7])\s"
_OPEN_BEFORE_COMMENT = r"([\[{])[^\[\]{}]*?\s#"
_LINES = 50
"""How many lines before the place at which the parser gave up are looked at."""


def strange_character(text: str, index: int) -> Found | None:
    """A character outside of quotes that is not seen, or looks like a space, in the last lines."""
    begin = text.rfind("\n", 0, max(text.rfind("\n", 0, index), 0)) + 1
    found = re.search(_STRANGE, _without_quoted(text[begin : index + 1]))
    if found is None:
        return None
    name = f"(U+{ord(found[0]):04X})"
    if found[0].isspace():
        kind = "a non-breaking space" if found[0] == "\u00a0" else "a space of another kind"
        return begin + found.start(), f"{kind} {name}", "write an ordinary space"
    return begin + found.start(), f"a character that nobody sees {name}", "delete it"


def dash_without_blank(text: str, index: int) -> Found | None:
    """An item of a list that begins with `-word`, in the line of a place or the one before."""
    lines = _lines_before(text, index, 3)
    for number, (begin, line) in enumerate(lines[:2]):
        above = lines[number + 1][1].strip() if number + 1 < len(lines) else ":"
        found = re.fullmatch(_NO_BLANK, line)
        # Else it may go on with a text that began in the line above.
        if found and (above.endswith(":") or above.startswith("-")):
            # What follows is not shown: it may be a secret.
            at = begin + len(found["indent"])
            return at, "a space is missing after '-'", "write '- ...' for an item of a list"
        found = re.match(_DASHES, line)
        if found:
            dash = found["dash"]
            message = f"'{dash}' (U+{ord(dash):04X}) is another character than '-'"
            return begin + found.start("dash"), message, "write '- ...' for an item of a list"
    return None


def comment_in_brackets(text: str, index: int) -> Found | None:
    """A comment in the line of a bracket that is not closed in it."""
    for begin, line in _lines_before(text, index, _LINES):
        found = re.search(_OPEN_BEFORE_COMMENT, _without_quoted(line))
        if found:
            return (
                begin + found.end() - 1,
                f"the '{found[1]}' is not closed in its line",
                "' #' begins a comment, up to the end of its line: put the text in quotes",
            )
    return None


def less_indented_text(text: str, index: int) -> Found | None:
    """A line of a text behind `|` or `>` that is indented less than the first one."""
    begin = text.rfind("\n", 0, index) + 1
    line = text[begin:].partition("\n")[0]
    opened = _in_block(text, begin)
    if not opened or not line.strip():
        return None
    at = begin + len(line) - len(line.lstrip())
    message = f"this line of the text of '{opened}' is indented less than its first one"
    return at, message, "indent all lines of the text alike"


def _in_block(text: str, begin: int) -> str | None:
    """`|` or `>`, where the line that holds the one at a place begins a text of several lines."""
    line = text[begin:].partition("\n")[0]
    indent = len(line) - len(line.lstrip())
    for _, above in _lines_before(text, begin - 1, _LINES):
        if above.strip() and len(above) - len(above.lstrip()) < indent:
            opened = re.search(BLOCK, above)
            return opened[1] if opened else None
    return None


def _lines_before(text: str, index: int, most: int) -> list[tuple[int, str]]:
    """The line of a place and those before it, each with its first character's index."""
    found: list[tuple[int, str]] = []
    if index < 0:
        return found
    end = text.find("\n", index)
    end = len(text) if end < 0 else end
    while end >= 0 and len(found) < most:
        begin = text.rfind("\n", 0, end) + 1
        if text[begin:end].strip():
            found.append((begin, text[begin:end]))
        end = begin - 1
    return found


def _without_quoted(text: str) -> str:
    return re.sub(_QUOTED, lambda found: " " * len(found[0]), text)
