"""The messages of Python and Jinja2 about values, in the words of the language."""

from __future__ import annotations

import re
from collections.abc import Callable

_TYPES = {
    "int": "a number", "float": "a number", "str": "a text", "list": "a list",
    "dict": "a mapping", "NoneType": "null", "None": "null", "bool": "true or false",
    "tuple": "a list", "Namespace": "a namespace", "Macro": "a macro",
    "builtin_function_or_method": "a method", "method": "a method", "function": "a function",
    "type": "a function", "method_descriptor": "a method",
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
    told = f"'{operator}' can't be used on {in_words(left)} and {in_words(right)}"
    if operator == "+" and "str" in (left, right):
        return f"{told}: texts are joined with '~', numbers are made with '| int' or '| float'"
    return told


def _of_operand(operator: str, operand: str) -> str:
    return f"'{operator}' can't be used on {in_words(operand)}"


def _of_method(operand: str, method: str) -> str:
    return _of_operand(method, operand)


def _of_comparison(operator: str, left: str, right: str) -> str:
    return f"{in_words(left)} and {in_words(right)} can't be compared with '{operator}'"


def _value(shown: str) -> str:
    return {"None": "null", "True": "true", "False": "false"}.get(shown, shown)


def _text_needed(name: str) -> str:
    return f"a text is needed, not {in_words(name)}"


def _number_needed(name: str) -> str:
    return f"a number is needed, not {in_words(name)}"


def in_words(type_name: str) -> str:
    """What a value is, by the name of its type in Python."""
    return _TYPES.get(type_name, f"a value of type '{type_name}'")


_OF_OPERATORS: tuple[tuple[str, Callable[..., str]], ...] = (
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
        rf"can't multiply sequence by non-int of type {_NAME}",
        lambda name: f"a text or a list is repeated by a whole number, not by {in_words(name)}",
    ),
    (
        r"argument of type '(\w+)' is not .+",
        lambda name: (
            f"'in' can't look into {in_words(name)}: a list, a mapping or a text is needed"
        ),
    ),
    (
        r"'in <string>' requires string as left operand, not (\w+)",
        lambda name: f"'in' looks for a text in a text, not for {in_words(name)}",
    ),
    (r"sum\(\) can't sum .+", lambda: "texts are joined with '~' or '| join'"),
)
"""Patterns of messages about operators, and what is said in their place."""
_OF_NUMBERS: tuple[tuple[str, Callable[..., str]], ...] = (
    (r"could not convert string to float: (.+)", lambda value: f"the text {value} is no number"),
    (
        r"invalid literal for int\(\) with base \d+: (.+)",
        lambda value: f"the text {value} is no whole number",
    ),
    (rf"(?:float|int)\(\) argument must be .+, not {_NAME}", _number_needed),
    (
        r"int too \w+ to convert.*|\(34, '.+'\)|cannot convert float .+ to integer",
        lambda: "the number is too large",
    ),
    (
        r".* to a negative power",
        lambda: "0 can't be raised to a negative power",
    ),
    (r".*by zero|float modulo|float divmod\(\)", lambda: "division by zero"),
    (r"range\(\) arg 3 must not be zero", lambda: "the step of 'range' can't be 0"),
    (r"slice step cannot be zero", lambda: "the step of a slice can't be 0"),
    (
        r"slice indices must be integers .+",
        lambda: "the places of a slice are whole numbers",
    ),
    (
        r"'(\w+)' object cannot be interpreted as an integer",
        lambda name: f"a whole number is needed, not {in_words(name)}",
    ),
    (
        r"expected (\w+) >= (\d+), got (-?[\d.]+)",
        lambda what, least, given: f"the {what} must be at least {least}, not {given}",
    ),
    (
        r"invalid width (-?\d+) \(must be > 0\)",
        lambda given: f"the width must be at least 1, not {given}",
    ),
)
"""Patterns of messages about numbers."""
_OF_LISTS: tuple[tuple[str, Callable[..., str]], ...] = (
    (
        r"'(\w+)' object is not (?:iterable|reversible)",
        lambda name: f"{in_words(name)} has no items: a list or a mapping is needed",
    ),
    (r"argument must be iterable|can only join an iterable", lambda: "a list is needed"),
    (r"object of type '(\w+)' has no len\(\)", lambda name: f"{in_words(name)} has no length"),
    (r"'(\w+)' object is not subscriptable", lambda name: f"{in_words(name)} has no parts"),
    (
        r"list indices must be integers or slices, not (\w+)",
        lambda name: f"an item of a list is found by a whole number, not by {in_words(name)}",
    ),
    (
        r"No (\w+) item, sequence was empty\.",
        lambda which: f"there is no {which} item: the list is empty",
    ),
    (r"(.+) is not in list", lambda value: f"{_value(value)} is not in the list"),
    (
        r"(?:\w+\.)?index\(x\): x not in \w+|substring not found|(?:sub)?section not found",
        lambda: "it is not there",
    ),
    (
        r"cannot unpack non-iterable (\w+) object",
        lambda name: f"{in_words(name)} can't be taken apart into several names",
    ),
    (
        r"not enough values to unpack \(expected (\d+), got (\d+)\)",
        lambda needed, given: f"there are {needed} names and only {given} values for them",
    ),
    (
        r"too many values to unpack \(expected (\d+)(?:, got \d+)?\)",
        lambda needed: f"there are more than {needed} values for {needed} names",
    ),
    (
        r"'(\w+)' object is not a mapping|'(\w+)' object has no attribute 'items'",
        lambda name, other: f"a mapping is needed, not {in_words(name or other)}",
    ),
    (r"Can only get item pairs from a mapping\.", lambda: "a mapping is needed"),
    (
        r"(?:cannot convert )?dictionary update sequence element #(\d+) .+",
        lambda index: f"pairs of a name and a value are needed (item {index})",
    ),
    (
        r"unhashable type: 'slice'|slice\(.+\)",  # which Python says depends on its version
        lambda: "a mapping has no slices: those are of lists and texts",
    ),
    (
        r"unhashable type: '(\w+)'",
        lambda name: f"{in_words(name)} can't be a key or a name: a text is needed",
    ),
    (
        r"access to attribute '(\w+)' of '(\w+)' object is unsafe\.",
        lambda name, of: f"'{name}' of {in_words(of)} is out of reach of templates",
    ),
    (r"at least one item has to be provided", lambda: "at least one item is needed"),
    (r"-?\d+", lambda: "a list is needed"),  # what Python says of a mapping without such a key
)
"""Patterns of messages about lists and mappings."""
_OF_CALLS: tuple[tuple[str, Callable[..., str]], ...] = (
    (r"'(\w+)' object is not callable", lambda name: f"{in_words(name)} can't be called"),
    (
        r"[\w.]+\(\) missing \d+ required (?:positional|keyword-only) arguments?: (.+)",
        lambda names: f"an argument is missing: {names}",
    ),
    (r"[\w.]+\(\) takes no keyword arguments", lambda: "no argument has a name"),
    (r"[\w.]+\(\) takes .* given\)?", lambda: "too many arguments were given"),
    (
        r"[\w.]+\(\) got an unexpected keyword argument ('\w+').*",
        lambda name: f"there is no argument {name}",
    ),
    (
        r"('\w+') is an invalid keyword argument for [\w.]+\(\)",
        lambda name: f"there is no argument {name}",
    ),
    (
        r"macro ('.+') takes no keyword argument ('\w+')",
        lambda macro, name: f"the macro {macro} has no argument {name}",
    ),
    (
        r"macro ('.+') takes not more than (\d+) argument\(s\)",
        lambda macro, most: f"too many arguments were given: the macro {macro} has {most}",
    ),
    (
        r"[\w.]+\(\) got multiple values for argument ('\w+')",
        lambda name: f"the argument {name} is given twice",
    ),
    (r"\w+ expected at least .*", lambda: "an argument is missing"),
    (r"\w+ expected at most .*", lambda: "too many arguments were given"),
    (
        r"if you give only one argument to maketrans it must be a dict",
        lambda: "a mapping is needed",
    ),
    (r"Missing parameter for attribute name", lambda: "the name of an attribute is missing"),
    (r"attribute name must be string, not '(\w+)'", _text_needed),
    (r"\w+\(\): attribute name must be string", lambda: "a text is needed"),  # Python 3.10
    (
        r"No (filter|test) named '?(.+?)'?\.?",
        lambda kind, name: f"there is no {kind} '{_value(name)}'",
    ),
)
"""Patterns of messages about what is called: functions, filters, tests, macros, methods."""
_OF_TEXTS: tuple[tuple[str, Callable[..., str]], ...] = (
    (
        r"sequence item (\d+): expected str instance, (\w+) found",
        lambda index, name: f"a text is needed, not {in_words(name)} (item {index})",
    ),
    (r".*must be str(?: or None| or a tuple of str)?, not (\w+)", _text_needed),
    (r"\w+ arg must be None or str", lambda: "a text is needed"),
    (
        r"'\w+' object has no attribute 'splitlines'",
        lambda: "a text is needed",
    ),
    (
        r"The fill character must be .+",
        lambda: "what fills the place is one character",
    ),
    (
        r"'[\w-]+' codec can't encode .+: surrogates not allowed",
        lambda: "the text has half a character ('\\ud83d', for example), which nothing can hold",
    ),
)
"""Patterns of messages about texts."""
_OF_FORMATS: tuple[tuple[str, Callable[..., str]], ...] = (
    (
        r"(%\w) format: .+ is required, not (\w+)",
        lambda place, name: f"'{place}' needs a number, not {in_words(name)}",
    ),
    (
        r"%c requires .*int or .*char.*",
        lambda: "'%c' needs a number or one character",
    ),
    (r"\* wants int", lambda: "the width at '*' is a whole number"),
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
    (r"incomplete format key", lambda: "'%(' is not closed by ')'"),
    (
        r"unsupported format character '(.+)' \(.+\) at index \d+",
        lambda character: f"'%{character}' is no place for a value; write '%%' for a '%'",
    ),
    (
        r"(?:tuple index out of range|Replacement index \d+ out of range .+)",
        lambda: "the text has more places ('{}') than there are values",
    ),
    (
        r"Single '(.)' encountered in format string",
        lambda brace: f"a '{brace}' stands alone in the text; write it twice for the character",
    ),
    (r"expected '}' before end of string", lambda: "a '{' in the text is not closed by '}'"),
    (
        r"cannot switch from .+ to .+",
        lambda: "'{}' and '{0}' can't stand in the same text",
    ),
    (
        r"Unknown format code '(.+)' for object of type '(\w+)'",
        lambda code, name: f"'{code}' can't format {in_words(name)}",
    ),
    (
        r"unsupported format string passed to (\w+)\.__format__",
        lambda name: f"{in_words(name)} can't be formatted so",
    ),
    (r"Unknown conversion specifier '?(.+?)'?", lambda code: f"there is no conversion '!{code}'"),
    (r"'([^']*)'", lambda name: f"there is no value for '{name}'"),  # of a mapping without it
)
"""Patterns of messages about texts with places that are filled."""
_WORDS = _OF_OPERATORS + _OF_NUMBERS + _OF_LISTS + _OF_CALLS + _OF_TEXTS + _OF_FORMATS
