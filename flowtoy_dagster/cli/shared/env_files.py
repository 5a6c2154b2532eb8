"""What the lines of a dotenv file stand for (language 1.7).

python-dotenv reads the lines. It expands `${NAME}` inside single quotes too, where every shell and
every other reader of such files takes the text as it is; so values are expanded here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dotenv.parser import Binding

_SINGLE_QUOTED = re.compile(r"[^=]*=[^\S\n]*'")
_QUOTE = re.compile(r"(?:export\s+)?[^=\s]+[^\S\n]*=[^\S\n]*(['\"])")
_VARIABLE = re.compile(r"\$\{(?P<name>[^}:]*)(?::-(?P<default>[^}]*))?\}")
_OTHER = re.compile(r"\$\{([A-Za-z0-9_]*)")
_AS_IT_IS = "(in single quotes the value stays as it is)"


def line_of(binding: Binding) -> int:
    """The line of a variable; python-dotenv gives that of the blank lines before it."""
    before = binding.original.string
    return binding.original.line + before[: len(before) - len(before.lstrip())].count("\n")


def mistake_of(binding: Binding) -> str | None:
    """What is wrong with a line, or None."""
    if binding.error:
        return _why_not_a_line(binding.original.string.strip())
    if "\0" in f"{binding.key}{binding.value}":
        return "an environment variable can't hold a null character"
    return None


def _why_not_a_line(text: str) -> str:
    """What is wrong with a line that can't be read; without the value, which may be secret."""
    found = _QUOTE.match(text)
    if found is None:
        return "not a line of the form NAME=value"
    quote = found[1]
    if re.fullmatch(rf"(?:[^{quote}\\]|\\.)*", text[found.end() :], re.DOTALL):
        return f"the quote ({quote}) that opens the value is not closed"
    return f"there is text after the closing quote ({quote}): within quotes, write \\{quote}"


def values_of(
    bindings: Iterable[Binding], environment: Mapping[str, str]
) -> tuple[dict[str, str], list[tuple[int, str]]]:
    """The variables of a file, the last line of a name counts.

    `${NAME}` and `${NAME:-default}` are expanded in values that are not in single quotes: from the
    environment, or else from earlier lines.

    Args:
        bindings: the lines, none of which has an error.
        environment: the variables that are set already.

    Returns:
        the values; and the lines in which something may not be as it is meant, and why.
    """
    values: dict[str, str] = {}
    warnings: list[tuple[int, str]] = []
    for binding in bindings:
        if binding.key is None or binding.value is None:
            continue
        value = binding.value
        if not _SINGLE_QUOTED.match(binding.original.string.lstrip()):
            value, told = _expanded(value, {**values, **environment})
            warnings += [(line_of(binding), text) for text in told]
        values[binding.key] = value
    return values, warnings


def _expanded(value: str, known: Mapping[str, str]) -> tuple[str, list[str]]:
    """A value with its variables expanded, and what is to be told of them."""
    told: list[str] = []

    def text_of(found: re.Match[str]) -> str:
        name, default = found["name"], found["default"]
        if name not in known and default is None:
            told.append(f"${{{name}}} gives nothing: the variable is not set {_AS_IT_IS}")
        if default is not None and "${" in default:
            told.append(f"the text of ${{{name}:-…}} ends at the first }}; what is in it is not"
                        f" expanded {_AS_IT_IS}")
        return known.get(name, default or "")

    told += [
        f"${{{name}…}} is not expanded: only ${{NAME}} and ${{NAME:-text}} are {_AS_IT_IS}"
        for name in _OTHER.findall(_VARIABLE.sub("", value))
    ]
    return _VARIABLE.sub(text_of, value), told
