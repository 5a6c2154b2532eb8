"""A shell script as the commands in it, each a list of words without their quotes.

Only to warn by: what is odd may be misread here, and nothing is executed by what this says.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_KEYWORDS = frozenset({"if", "then", "else", "elif", "do", "while", "until", "!", "{", "}"})
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_HERE_DOCUMENT = re.compile(r"<<(-?)[ \t]*\\?(['\"]?)([A-Za-z_][\w.-]*)\2")
_REDIRECTION = re.compile(r"(?:<<<|[<>]&?|>>|>\||&>>?)[ \t]*")


class Word(NamedTuple):
    """A word without its quotes; `quoted` says of each character whether it was in quotes."""

    text: str
    quoted: tuple[bool, ...]


def commands_of(script: str) -> list[list[Word]]:
    """Every command of a script, those in `$(…)` and backticks too."""
    reader = _Reader(script)
    while reader.at < len(script):
        reader.read("")
    return [found for found in map(_without_prefix, reader.found) if found]


def _without_prefix(command: list[Word]) -> list[Word]:
    for index, word in enumerate(command):
        if any(word.quoted) or not (word.text in _KEYWORDS or _ASSIGNMENT.match(word.text)):
            return command[index:]
    return []


class _Reader:
    def __init__(self, script: str) -> None:
        self.script = script
        self.at = 0
        self.found: list[list[Word]] = []
        self._delimiters: list[tuple[str, bool]] = []

    def read(self, end: str) -> None:
        """Read commands up to an `end`, or the script's."""
        command: list[Word] = []
        while self.at < len(self.script):
            character = self.script[self.at]
            if character == end or character == ")":
                self.at += 1
                break
            if character == "#":
                newline = self.script.find("\n", self.at)
                self.at = newline if newline >= 0 else len(self.script)
            elif here := _HERE_DOCUMENT.match(self.script, self.at):
                self._delimiters.append((here[3], bool(here[1])))
                self.at = here.end()
            elif redirection := _REDIRECTION.match(self.script, self.at):
                self.at = redirection.end()
                self._word(end)  # a file's name is no argument
            elif character in "\n;&|(":
                self.at += 1
                self.found.append(command)
                command = []
                if character == "\n":
                    self._skip_here_documents()
            elif character in " \t":
                self.at += 1
            else:
                word = self._word(end)
                if not (word.text.isdigit() and self.script[self.at : self.at + 1] in ("<", ">")):
                    command.append(word)
        self.found.append(command)

    def _skip_here_documents(self) -> None:
        for delimiter, tabs in self._delimiters:
            while self.at < len(self.script):
                line, newline, _ = self.script[self.at :].partition("\n")
                self.at += len(line) + len(newline)
                if (line.lstrip("\t") if tabs else line) == delimiter:
                    break
        self._delimiters.clear()

    def _word(self, end: str) -> Word:
        text, quoted, quote = "", [], ""
        while self.at < len(self.script):
            character = self.script[self.at]
            if not quote and (character in " \t\n;&|()<>" or character == end):
                break
            self.at += 1
            taken, is_quoted = character, bool(quote)
            if quote == "'":
                taken = "" if character == "'" else character
                quote = "" if character == "'" else quote
            elif character == "\\":
                taken, is_quoted = self.script[self.at : self.at + 1], True
                self.at += 1
            elif character == '"' or (character == "'" and not quote):
                taken, quote = "", "" if quote else character
            elif character == "`" or (character == "$" and self.script.startswith("(", self.at)):
                # What a command in a word gives is not known: its place shows something.
                self.at += 0 if character == "`" else 1
                self.read("`" if character == "`" else ")")
                taken = "$"
            text += taken
            quoted.extend([is_quoted] * len(taken))
        return Word(text, tuple(quoted))
