"""The messages of Python and Jinja2 about values, in the words of the language."""

from __future__ import annotations

import re
from collections.abc import Callable

_TYPES = {
    "int": "a number", "float": "a number", "str": "a text", "list": "a list",
    "dict": "a mapping", "NoneType": "null", "bool": "true or false", "tuple": "a list",
}
_NAME = r"""['"]?([A-Za-z]\w*)['"]?"""


def in_plain_words(message: str) -> str:
    """What an operation can't do, without Python's names of types and functions.

    Args:
        message: of Python or Jinja2, in any version; an unknown one is given back as it is.
    """
    for pattern, words in _WORDS:
        # Compiled where a message is looked at: most flows have none.
        found = re.fullmatch(pattern, message)
        if found:
            return words(*found.groups())
    return message


def _of_operands(operator: str, left: str, right: str) -> str:
    told = f"'{operator}' can't be used on {_type(left)} and {_type(right)}"
    if operator == "+" and "str" in (left, right):
        return f"{told}: texts are joined with '~', numbers are made with '| int' or '| float'"
    return told


def _of_operand(operator: str, operand: str) -> str:
    return f"'{operator}' can't be used on {_type(operand)}"


def _of_method(operand: str, method: str) -> str:
    return _of_operand(method, operand)


def _of_comparison(operator: str, left: str, right: str) -> str:
    return f"{_type(left)} and {_type(right)} can't be compared with '{operator}'"


def _type(name: str) -> str:
    return _TYPES.get(name, f"a value of type '{name}'")


_WORDS: tuple[tuple[str, Callable[..., str]], ...] = (
    (
        rf"unsupported operand type\(s\) for (\S+?)(?: or \S+)?: {_NAME} and {_NAME}",
        _of_operands,
    ),
    (
        rf"can only concatenate (\w+) \(not {_NAME}\) to \w+",
        lambda left, right: _of_operands("+", left, right),
    ),
    (rf"'(\S+)' not supported between instances of {_NAME} and {_NAME}", _of_comparison),
    (r"type (\w+) doesn't define __(\w+?)__ method", _of_method),
    (r"bad operand type for (?:unary )?(\S+?)(?:\(\))?: '(\w+)'", _of_operand),
    (
        r"'(\w+)' object is not iterable",
        lambda name: f"{_type(name)} has no items: a list or a mapping is needed",
    ),
    (
        r"argument of type '(\w+)' is not .+",
        lambda name: f"'in' can't look into {_type(name)}: a list, a mapping or a text is needed",
    ),
    (r"object of type '(\w+)' has no len\(\)", lambda name: f"{_type(name)} has no length"),
    (
        r"'(\w+)' object cannot be interpreted as an integer",
        lambda name: f"a whole number is needed, not {_type(name)}",
    ),
    (r"'(\w+)' object is not callable", lambda name: f"{_type(name)} can't be called"),
    (r"'(\w+)' object is not a mapping", lambda name: f"a mapping is needed, not {_type(name)}"),
    (r"could not convert string to float: (.+)", lambda value: f"the text {value} is no number"),
    (
        r"invalid literal for int\(\) with base \d+: (.+)",
        lambda value: f"the text {value} is no whole number",
    ),
    (
        r"[\w.]+\(\) missing \d+ required (?:positional|keyword-only) arguments?: (.+)",
        lambda names: f"an argument is missing: {names}",
    ),
    (r"[\w.]+\(\) takes .* given\)?", lambda: "too many arguments were given"),
    (
        r"[\w.]+\(\) got an unexpected keyword argument ('\w+').*",
        lambda name: f"there is no argument {name}",
    ),
    (
        r"[\w.]+\(\) got multiple values for argument ('\w+')",
        lambda name: f"the argument {name} is given twice",
    ),
    (
        r"(%\w) format: .+ is required, not (\w+)",
        lambda place, name: f"'{place}' needs a number, not {_type(name)}",
    ),
    (
        r"not enough arguments for format string",
        lambda: "the text has more places ('%s') than there are values",
    ),
    (
        r"not all arguments converted during string formatting",
        lambda: "the text has fewer places ('%s') than there are values",
    ),
    (
        r"format requires a mapping",
        lambda: "the text has places with names ('%(a)s'): name the values, as in format(a=1)",
    ),
    (r"incomplete format", lambda: "nothing follows a '%' in the text; write '%%' for a '%'"),
    (
        r"unsupported format character '(.+)' \(.+\) at index \d+",
        lambda character: f"'%{character}' is no place for a value; write '%%' for a '%'",
    ),
    (
        r"(?:tuple index out of range|Replacement index \d+ out of range .+)",
        lambda: "the text has more places ('{}') than there are values",
    ),
    (
        r"No (\w+) item, sequence was empty\.",
        lambda which: f"there is no {which} item: the list is empty",
    ),
    (
        r"expected (\w+) >= (\d+), got (-?\d+)",
        lambda what, least, given: f"the {what} must be at least {least}, not {given}",
    ),
    (
        r"invalid width (-?\d+) \(must be > 0\)",
        lambda given: f"the width must be at least 1, not {given}",
    ),
    (r"\w+ expected at least .*", lambda: "an argument is missing"),
    (r"\w+ expected at most .*", lambda: "too many arguments were given"),
    (
        r"sequence item (\d+): expected str instance, (\w+) found",
        lambda index, name: f"a text is needed, not {_type(name)} (item {index})",
    ),
    (r".*by zero|float modulo|float divmod\(\)", lambda: "division by zero"),
    (r"No (filter|test) named '(.+)'\.?", lambda kind, name: f"there is no {kind} '{name}'"),
)
"""Patterns of messages, and what is said in their place."""
