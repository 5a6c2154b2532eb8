"""Why JMESPath can't read an expression, or apply one, in the words of the language."""

from __future__ import annotations

import re

from jmespath import exceptions

_WORDS = {"and": "&&", "or": "||", "not": "!"}
_TYPES = {
    "string": "text", "array": "a list", "object": "a mapping", "number": "a number",
    "boolean": "true or false", "null": "null", "expref": "an expression (&name)",
    "array-string": "a list of texts", "array-number": "a list of numbers",
}
_PYTHONS = {
    "dict": "object", "list": "array", "str": "string", "int": "number", "float": "number",
    "bool": "boolean", "NoneType": "null",
}
_HYPHENED = re.compile(r"[A-Za-z_]\w*(?:-\w+)+")
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`""")
_MISSING = (
    (("==", "!=", "<", "<=", ">", ">="), "a value is missing, such as 'open' in single quotes"),
    (("&&", "||", "!", "|", "&", ",", ":"), "an expression is missing"),
    ((".",), "the name of a key is missing"),
    (("[?",), "a condition is missing, such as [?state == 'open']"),
)
_BRACKETS = {"[": "]", "(": ")", "{": "}"}


def why_incomplete(expression: str) -> str:
    """What an expression lacks at its end."""
    text = expression.rstrip()
    for ends, missing in _MISSING:
        for end in sorted(ends, key=len, reverse=True):
            if text.endswith(end):
                return f"after '{end}' at its end {missing}"
    unclosed: list[str] = []
    for character in without_quoted(text):
        if character in _BRACKETS:
            unclosed.append(character)
        elif unclosed and character == _BRACKETS[unclosed[-1]]:
            unclosed.pop()
    if unclosed:
        return f"'{unclosed[-1]}' is not closed by '{_BRACKETS[unclosed[-1]]}'"
    return "it is not complete"


def without_quoted(expression: str) -> str:
    """An expression with blanks for its texts, its quoted names and its literals."""
    return _QUOTED.sub(lambda found: " " * len(found[0]), expression)


def why_malformed(expression: str, error: exceptions.JMESPathError) -> str | None:
    """What is wrong with an expression, and what to write; None where the parser says it well."""
    if not expression.strip():
        return "it is empty"
    if isinstance(error, exceptions.IncompleteExpressionError):
        return why_incomplete(expression)
    if expression.startswith(("$", ".")):
        first = expression[0]
        return f"it begins with '{first}': leave that out, the data is where an expression begins"
    if isinstance(error, exceptions.LexerError):
        return _why_no_token(expression, error.lex_position)
    if not isinstance(error, exceptions.ParseError) or isinstance(error, exceptions.ArityError):
        return None
    token, kind = str(error.token_value), error.token_type
    if kind == "EOF":
        return why_incomplete(expression)
    if kind == "NUMBER":
        return f"a number is written in backticks: `{token}`"
    if token in _WORDS:
        return f"'{token}' is written '{_WORDS[token]}'"
    return f"'{token}' at character {error.lex_position + 1} is not expected there"


def _why_no_token(expression: str, at: int) -> str:
    if expression[at : at + 1] == "=":
        return "'=' is no operator: values are compared with '=='"
    for hyphened in _HYPHENED.finditer(without_quoted(expression)):
        if hyphened.start() < at < hyphened.end():
            return f"a key with '-' is written in double quotes: \"{hyphened[0]}\""
    return f"{expression[at : at + 1]!r} at character {at + 1} has no meaning there"


def why_not_applied(error: exceptions.JMESPathTypeError) -> str:
    """What a function takes, and what it was given, without the value."""
    if error.expected_types == ["keys"]:
        found = " and ".join(_TYPES.get(name, name) for name in error.actual_type.split(", "))
        return (f"{error.function_name}() takes keys that are all numbers or all texts, "
                f"and was given {found}")
    taken = [_TYPES.get(name, name) for name in error.expected_types]
    listed = " or ".join(filter(None, (", ".join(taken[:-1]), taken[-1]))) if taken else "else"
    given = _TYPES.get(error.actual_type)
    if given is None:  # Python's type of something in a list
        held = _TYPES.get(_PYTHONS.get(error.actual_type, ""), error.actual_type)
        given = f"a list with {held} in it"
    return f"{error.function_name}() takes {listed}, and was given {given}"
