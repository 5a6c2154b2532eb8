"""Jinja2's reasons why a text is no template, in words that need no knowledge of its parser."""

from __future__ import annotations

import re

import jinja2

# Compiled where a message is looked at: most flows have none.
_UNEXPECTED = r"unexpected char '(.)' at (\d+)"
_UNKNOWN_TAG = r"Encountered unknown tag '(\w+)'"
_UNCLOSED = r"The innermost block that needs to be closed is '(\w+)'"
_INSTEAD = r"expected token '[^']*', got ('[^']*')$"
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
        told = f"'{found[1]}' at character {int(found[2]) + 1} has no meaning there"
        return told, _OPERATORS.get(found[1])
    if message.endswith("'='"):
        return _plain(message), "values are compared with '==' and '!='"
    return _plain(message), "'||' is written 'or'" if "||" in source else None


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
    for too_early in ("unexpected '}}'", "'}}' is not expected there"):
        reason = reason.replace(too_early, "it ends too early")
    return reason.replace("'}}'", "its end")


def _plain(message: str) -> str:
    message = re.sub(_INSTEAD, r"\1 is not expected there", message)
    return (
        message.replace("end of print statement", "}}").replace("end of statement block", "%}")
        .replace("Expected an expression, got '", "an expression is missing before '")
    )
