"""libyaml's reasons in words that need no knowledge of its parser."""

from __future__ import annotations

import re

import yaml

TWICE = "within '...' write ' twice; within \"...\" write \\\""
_SINGLE = "write \\\\, or use single quotes, in which \\ is an ordinary character"
# Compiled where a text is no YAML.
_KEY_OR_ITEM = r"(?P<indent> *)(?P<dashes>(?:- +)*)(?P<key>[\"']?[\w.-]+[\"']?\s*:(\s|$))?"
_WORDS = {
    "did not find expected node content": ("a value is missing here", None),
    "another document": (
        "'---' begins a second document",
        "write the documents into files of their own; several files are merged",
    ),
    "block sequence entries are not allowed": (
        "'- ' begins a list in a line that has a key or a value before it",
        "write the list as [one, two], or each '- ' in a line of its own",
    ),
    "mapping keys are not allowed": ("'? ' is not allowed here", "put the value in quotes"),
    "invalid Unicode character escape": (
        "the escape after '\\' stands for no character", "write the character itself",
    ),
    "expected hexdecimal number": (
        "'\\x', '\\u' and '\\U' need 2, 4 and 8 hexadecimal digits", _SINGLE,
    ),
    "unexpected document indicator": (
        "'---' or '...' begins a line within a text in quotes",
        "close the quote, or indent the line",
    ),
    "comment or line break": (
        "text in the line of '|' or '>'", "write the text in the lines below it, indented",
    ),
    "found a tab character": ("a tab is part of the indentation", "indent with spaces, not tabs"),
    "expected <document start>": ("text after the end of the document", None),
    "could not find expected ':'": ("a ':' is missing in this line or the one before", None),
    "whitespace or line break": ("a space is missing here", None),
    "undefined alias": ("'*' refers to an anchor ('&') that does not exist", None),
}


def in_plain_words(text: str, error: yaml.MarkedYAMLError) -> tuple[str, str | None] | None:
    """What is wrong, and how to fix it; None for a reason that has no other words.

    Args:
        text: what was read.
        error: why it is no YAML, with the place where the parser gave up.
    """
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return None
    context, problem = error.context or "", error.problem or ""
    character = text[mark.index : mark.index + 1]
    if "duplicate anchor" in context:
        first = f"; first in line {error.context_mark.line + 1}" if error.context_mark else ""
        return f"the name of an anchor ('&') is given twice{first}", "write another name"
    return _of_a_value(text, error, mark, character) or next(
        (words for part, words in _WORDS.items() if part in problem), None
    )


def _of_a_value(
    text: str, error: yaml.MarkedYAMLError, mark: yaml.Mark, character: str
) -> tuple[str, str | None] | None:
    """What is wrong with the beginning of a value, or with what stands behind one."""
    context, problem = error.context or "", error.problem or ""
    if "cannot start any token" in problem:
        if character == "\t":
            return "a tab where a value or a key is expected", "indent with spaces, not tabs"
        return _quoted(character)
    if "scanning an alias" in context or "scanning an anchor" in context:
        return _quoted(text[mark.index - 1 : mark.index])
    if "did not find expected ',' or" in problem:
        return _open_bracket(text, mark, error.context_mark, problem)
    if "expected node content" in problem and character in ("]", "}", ","):
        return f"a value is missing before '{character}'", None
    if context.endswith(("a tag", "a directive")):
        return _quoted("!" if context.endswith("tag") else "%")
    if "unknown escape character" in problem:
        sign = text[mark.index :].lstrip("\\")[:1].strip()
        return f"'\\{sign}' has no meaning in double quotes", _SINGLE
    if "did not find expected key" in problem:
        return _no_key(text[: mark.index], text[mark.index :].partition("\n")[0])
    return None


def _no_key(text: str, rest: str) -> tuple[str, str | None]:
    """What stands where a key is expected, between a text and the rest of the line."""
    before = text.rpartition("\n")[2].rstrip()
    if not before.endswith(("'", '"')):
        return "a key is expected here", None
    if "{{" in before or (text.endswith(before) and before[-1] in rest):
        return f"the text in quotes ends before '{rest[:1].strip()}'", TWICE
    other = '"..."' if before.endswith("'") else "'...'"
    return "text after the closing quote", f"write {other} around the whole value"


def wrong_indent(text: str, mark: yaml.Mark) -> tuple[int, str, str] | None:
    """A key or an item that is not where those above it are: its index, what is wrong, the hint."""
    begin = text.rfind("\n", 0, mark.index) + 1
    own = re.match(_KEY_OR_ITEM, text[begin:].split("\n", 1)[0])
    if own is None or not (own["dashes"] or own["key"]):
        return None
    what = "item" if own["dashes"] else "key"
    here = len(own["indent"])
    for above in reversed(text[:begin].split("\n")):
        found = re.match(_KEY_OR_ITEM, above)
        if found is None or not (found["dashes"] or found["key"]):
            continue
        if what == "item" and not found["dashes"]:
            continue
        theirs = len(found["indent"]) + (len(found["dashes"]) if what == "key" else 0)
        if theirs == here:
            return None
        if above.rstrip().endswith(":") and theirs < here:
            return None  # it holds what is indented more
        plural = f"{here} space{'' if here == 1 else 's'}"
        message = f"this {what} is indented by {plural}, the one above it by {theirs}"
        whole = "keys of one mapping" if what == "key" else "items of one list"
        return begin + here, message, f"{whole} have the same indentation"
    return None


def _quoted(character: str) -> tuple[str, str | None]:
    if not character.strip():
        return "a value can't begin so", None
    return (f"a value can't begin with '{character}'",
            f"a value that begins with '{character}' must be quoted")


def _open_bracket(
    text: str, mark: yaml.Mark, opened: yaml.Mark | None, problem: str
) -> tuple[str, str | None]:
    closing = "]" if "']'" in problem else "}"
    before = text[: mark.index].rstrip()[-1:]
    if before in ("'", '"') and not text[mark.index - 1 : mark.index].isspace():
        return (f"the text in quotes ends before '{text[mark.index : mark.index + 1].strip()}'",
                TWICE)
    opening = "[" if closing == "]" else "{"
    line = text[opened.index : mark.index].partition("\n")[0] if opened else ""
    if re.search(r"\s#", line):
        hint = "' #' begins a comment, up to the end of its line: put the text in quotes"
        return f"the '{opening}' is not closed in its line", hint
    where = f" of line {opened.line + 1}, column {opened.column + 1}," if opened else ""
    return f"the '{opening}'{where} is not closed, or a ',' is missing before this", None
