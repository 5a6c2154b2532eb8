"""Jinja2's reasons why a text is no template, in words that need no knowledge of its parser."""

from __future__ import annotations

import re

import jinja2

# Compiled where a message is looked at: most flows have none.
_UNEXPECTED = r"""unexpected char (['"])(\\?.)\1 at (\d+)"""
_UNKNOWN_TAG = r"Encountered unknown tag '(\w+)'"
_UNCLOSED = r"The innermost block that needs to be closed is '(\w+)'"
_INSTEAD = r"expected token '[^']*', got ('[^']*')$"
_CLOSED_BY = r"unexpected '[^']*', expected '([)\]}])'$"
_ENDS = r"unexpected end of template, expected ('[^']*')$"
_TOO_MUCH = r"unexpected ('[^']*')$"
_OPENING = {")": "(", "]": "[", "}": "{"}
_STATEMENT = r"\{\{-?\s*(?:if|for|set)\s"
_PLAIN = {
    "unexpected 'end of template'": "it ends too early",
    "expected name or number": "a name is missing after '.'",
    "invalid syntax for function call expression":
        "an argument without a name stands behind one that has a name",
    "You cannot chain multiple tests with is": "what 'is' gives can't be tested by another 'is'",
    "can't assign to 'const'": "nothing can be assigned to a value: a name is missing",
    "tag name expected": "the name of a statement is missing after '{%'",
    "Missing end of comment tag": "'{#' is not closed by '#}'",
    "Invalid character in identifier": "a name has a character that no name may have",
}
_BEGUN_BY = {
    "endif": "if", "elif": "if", "else": "if", "endfor": "for", "endset": "set",
    "endmacro": "macro", "endfilter": "filter", "endcall": "call", "endwith": "with",
}
_OPERATORS = {
    "!": "'!' is written 'not'",
    "&": "'&&' is written 'and'",
    "?": "a choice is written: one if condition else other",
    "$": "leave out '$'",
    "\\": "leave out the '\\' before the quote, or take the other kind of quotes",
}


def why_no_template(error: jinja2.TemplateSyntaxError, source: str) -> tuple[str, str | None]:
    """What is wrong with a template, and how to fix it where that is likely.

    Args:
        error: what Jinja2 says.
        source: the template.
    """
    message = (error.message or "").rstrip(".")
    unknown = re.search(_UNKNOWN_TAG, message)
    if unknown:
        word = unknown[1]
        is_value = re.search(rf"\{{%[-+]?\s*{word}\s*[.|\[(]", source)
        hint = "a value is written {{ ... }}, not {% ... %}" if is_value else None
        if word in _BEGUN_BY:
            return f"'{{% {word} %}}' has no open '{{% {_BEGUN_BY[word]} %}}' before it", None
        return f"there is no statement '{word}'", hint
    unclosed = re.search(_UNCLOSED, message)
    if unclosed:
        word = unclosed[1]
        return f"'{{% {word} %}}' is not closed", f"write '{{% end{word} %}}' at its end"
    if source.count("{{") > source.count("}}"):
        return _plain(message), "'{{' is closed by '}}'"
    if source.count("{%") > source.count("%}"):
        return _plain(message), "'{%' is closed by '%}'"
    found = re.search(_UNEXPECTED, message)
    if found:
        what, place = found[2], int(found[3]) + 1
        if what in "\"'":
            told = f"the text that begins at character {place} is not closed"
            return told, f"write {what} at its end"
        return f"'{what[-1]}' at character {place} has no meaning there", _OPERATORS.get(what[-1])
    return _plain(message), _hint(message, source)


def _hint(message: str, source: str) -> str | None:
    """How to fix what is not expected."""
    if message.endswith("'='"):
        return "values are compared with '==' and '!='"
    if re.search(_STATEMENT, source):
        return "a statement is written {% ... %}, not {{ ... }}"
    if re.search(r"\{%-?\s*else if\b", source):
        return "'else if' is written 'elif'"
    return "'||' is written 'or'" if "||" in source else None


def why_no_expression(
    error: jinja2.TemplateSyntaxError, template: str, written: str
) -> tuple[str, str | None]:
    """The same for an expression that is written without braces.

    Args:
        error: what Jinja2 says of the template.
        template: the expression in braces.
        written: the expression.
    """
    reason, hint = why_no_template(error, template)
    return in_expression(reason, template, written), hint


def in_expression(reason: str, template: str, written: str) -> str:
    """A reason that is about a template, for the expression in it."""
    before = max(template.find(written), 0)
    if not before:
        return reason
    reason = re.sub(
        r"at character (\d+)", lambda at: f"at character {int(at[1]) - before}", reason
    )
    reason = reason.replace("'}}' is not expected there", "it ends too early")
    return reason.replace("'}}'", "its end")


def _plain(message: str) -> str:
    if message in _PLAIN:
        return _PLAIN[message]
    closed_by = re.search(_CLOSED_BY, message)
    if closed_by:
        return f"'{_OPENING[closed_by[1]]}' is not closed by '{closed_by[1]}'"
    message = re.sub(_ENDS, r"it ends before \1", message)
    message = re.sub(_INSTEAD, r"\1 is not expected there", message)
    message = re.sub(_TOO_MUCH, r"\1 is not expected there", message)
    return (
        message.replace("end of print statement", "}}").replace("end of statement block", "%}")
        .replace("Expected an expression, got '", "an expression is missing before '")
    )
