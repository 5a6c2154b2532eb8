"""What is typed of a command line that a shell completes: its words, and the quotes of the last.

Shells give it to us by the scripts of Typer, which would take a word with an escaped space in it
for two, and in bash `kind=f` and `last:shop` for three.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from contextvars import ContextVar
from typing import NamedTuple

VARIABLE = "_FLOWTOY_COMPLETE"
_LINE = "_TYPER_COMPLETE_ARGS"
_OPTION = re.compile(r"--?[\w-]+=")
_BREAK = re.compile(r"[=:]+")
"""What bash takes for the end of a word, although the line goes on with it."""
_ESCAPED_IN_QUOTES = '\\"$`'


class Typed(NamedTuple):
    """The word that is completed.

    Attributes:
        kept: the beginning of it that the shell leaves as it is; what is offered goes on there.
        option: `--param=`, where that is a part of the word, and of what is offered.
        quote: the quote in which it stands; empty for none.
    """

    kept: str = ""
    option: str = ""
    quote: str = ""


TYPED: ContextVar[Typed] = ContextVar("typed", default=Typed())  # noqa: B039 - it is frozen
"""What this command line completes."""


def read_typed() -> Typed:
    """The word that a shell asks about; the words of the line are given on in a plainer form."""
    if VARIABLE not in os.environ:
        return Typed()
    if "COMP_WORDS" in os.environ and "bash" in os.environ[VARIABLE]:
        words = os.environ["COMP_WORDS"]
        # By line, as the script joins them.
        given = words.split("\n") if "\n" in words else words.split(" ")
        number = os.environ.get("COMP_CWORD", "")
        plain, at, typed = _of_bash(given, int(number) if number.isdecimal() else 0)
        os.environ["COMP_WORDS"] = shlex.join(plain)
        os.environ["COMP_CWORD"] = str(at)
        return typed
    if _LINE not in os.environ:
        return Typed()
    words_typed, quote = split(os.environ[_LINE])
    *before, last = words_typed
    os.environ[_LINE] = f"{shlex.join(before)} {shlex.quote(last) if last else ''}"
    option = _OPTION.match(last)
    return Typed(option=option[0] if option else "", quote=quote)


def split(line: str) -> tuple[list[str], str]:
    """The words of the beginning of a command line, and the quote in which it ends.

    The last word is the one that goes on; it is empty where a new one begins.
    """
    words, quote, position = [""], "", 0
    while position < len(line):
        letter = line[position]
        position += 1
        if letter == "\\" and quote != "'" and position < len(line):
            is_plain = quote and line[position] not in _ESCAPED_IN_QUOTES
            words[-1] += (letter if is_plain else "") + line[position]
            position += 1
        elif letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote = letter
        elif not quote and letter.isspace():
            words += [""] if words[-1] else []
        else:
            words[-1] += letter
    return words, quote


def _of_bash(given: Sequence[str], at: int) -> tuple[list[str], int, Typed]:
    """The words, the place of the one that is completed, and what is kept of that."""
    words: list[str] = []
    kept, quote, place, goes_on = "", "", at, False
    for index, part in enumerate(given):
        text, open_quote = _plain(part)
        is_break = _BREAK.fullmatch(part) is not None
        if words and (is_break or (goes_on and part and not part.startswith("-"))):
            before, words[-1] = words[-1], words[-1] + text
        else:
            before = ""
            words.append(text)
        if index == at:
            kept, quote, place = words[-1] if is_break else before, open_quote, len(words) - 1
        goes_on = is_break
    option = _OPTION.match(words[place]) if place < len(words) else None
    # What is offered for an option's value does not have the option.
    kept = kept.removeprefix(option[0]) if option else kept
    return words, place, Typed(kept, quote=quote)


def _plain(part: str) -> tuple[str, str]:
    """A word without its quotes, and the quote that it leaves open."""
    words, quote = split(part)
    return " ".join(words), quote
