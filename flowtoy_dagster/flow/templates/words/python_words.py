"""Python's messages about the types of values, in the words of the language."""

from __future__ import annotations

import re

_TYPES = {
    "int": "a number", "float": "a number", "str": "a text", "list": "a list",
    "dict": "a mapping", "NoneType": "null", "bool": "true or false", "tuple": "a list",
}
_NAME = r"""['"]?([A-Za-z]\w*)['"]?"""
# Compiled where a message is looked at: most flows have none.
_OPERANDS = rf"unsupported operand type\(s\) for (\S+?)(?: or \S+)?: {_NAME} and {_NAME}$"
_JOINED = rf"can only concatenate (\w+) \(not {_NAME}\) to \1$"
_METHOD = r"type (\w+) doesn't define __(\w+?)__ method$"
_OPERAND = r"bad operand type for (?:unary )?(\S+?)(?:\(\))?: '(\w+)'$"
_COMPARISON = rf"'(\S+)' not supported between instances of {_NAME} and {_NAME}$"


def in_plain_words(message: str) -> str:
    """What an operation can't do, without Python's names of types.

    Args:
        message: of a TypeError; one that is about something else is given back as it is.
    """
    found = re.match(_OPERANDS, message)
    if found:
        operator, left, right = found.groups()
        return _of_sum(operator, left, right)
    found = re.match(_JOINED, message)
    if found:
        return _of_sum("+", found[1], found[2])
    found = re.match(_COMPARISON, message)
    if found:
        operator, left, right = found.groups()
        return f"{_type(left)} and {_type(right)} can't be compared with '{operator}'"
    found = re.match(_METHOD, message)
    if found:
        return f"'{found[2]}' can't be used on {_type(found[1])}"
    found = re.match(_OPERAND, message)
    if found:
        return f"'{found[1]}' can't be used on {_type(found[2])}"
    return message


def _of_sum(operator: str, left: str, right: str) -> str:
    told = f"'{operator}' can't be used on {_type(left)} and {_type(right)}"
    if operator == "+" and "str" in (left, right):
        return f"{told}: texts are joined with '~', numbers are made with '| int' or '| float'"
    return told


def _type(name: str) -> str:
    return _TYPES.get(name, f"a value of type '{name}'")
