"""Values in shell scripts: a shell never parses one, so data can't become code.

Values travel in environment variables, and the script holds references to them, quoted as the
place asks. A script that is misread here can split a value into words but never execute it.
"""

from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.templates.jinja import TEXT_SINK, ShellQuoted
from flowtoy_dagster.flow.templates.render import is_template, render
from flowtoy_dagster.flow.templates.values import text

VALUE_PREFIX = "FLOWTOY_VALUE_"
_HERE_DOCUMENT = re.compile(r"<<(-?)\s*(\\?|['\"]?)([\w.-]+)['\"]?")
_NOTHING = re.compile(r"(?!)()")
_NUMBER = re.compile(r"\s*[-+]?\d+\s*")
_PLAIN = ("plain", "paren", "backtick")
_ARITHMETIC = ("arithmetic", "arithmetic paren")


class ShellScript:
    """A shell script whose values become environment variables.

    Attributes:
        variables: the variables that the script refers to.
    """

    def __init__(self, context: Mapping[str, Any], *, lenient: bool = False) -> None:
        self.variables: dict[str, str] = {}
        self._values: list[Any] = []
        self._context = {**context, TEXT_SINK: self._hole_for}
        self._lenient = lenient

    @functools.cached_property
    def _nonce(self) -> int:
        # Data that looks like a hole must not be taken for one.
        return secrets.randbelow(10**12)

    @functools.cached_property
    def _hole(self) -> re.Pattern[str]:
        # Where no value is rendered, the pattern is not needed, and takes long to make.
        return re.compile(f"\0{self._nonce}:(\\d+)\0")

    def render(self, source: str) -> str:
        """The script; every value in it is a reference."""
        if not is_template(source):
            return source
        # The space keeps a string that is one expression from being taken as a native value.
        marked = text(render(source + " ", self._context, lenient=self._lenient))
        return _ShellText(marked.rstrip(), self._hole, self._insert).result()

    def reference(self, value: str) -> str:
        """A quoted reference to a value."""
        return f'"${{{self._name_for(value)}}}"'

    def _hole_for(self, value: Any) -> str:
        self._values.append(value if isinstance(value, ShellQuoted) else text(value))
        return f"\0{self._nonce}:{len(self._values) - 1}\0"

    def _value(self, number: int, state: str) -> str:
        value = self._values[number]
        if isinstance(value, ShellQuoted):
            # Within quotes the text is meant for a second shell, which reads it again.
            return value.original if state in _PLAIN else str(value)
        # A text that was put together by a block holds the holes of what is in it.
        return self._hole.sub(lambda hole: self._value(int(hole[1]), state), value)

    def _insert(self, number: int, state: str) -> str:
        value = self._value(number, state)
        if "\0" in value:
            raise TemplateError("a value with a NUL character can't be passed to a command")
        if state == "quoted here-document":
            raise TemplateError(
                "a value can't be passed in a here-document whose delimiter is quoted; "
                "take the quotes off the delimiter"
            )
        if state in _ARITHMETIC and not _NUMBER.fullmatch(value):
            raise TemplateError("a value in shell arithmetic must be a whole number")
        if state == "single":
            return f"'{self.reference(value)}'"
        if state in _PLAIN:
            return self.reference(value)
        return f"${{{self._name_for(value)}}}"

    def _name_for(self, value: str) -> str:
        name = f"{VALUE_PREFIX}{len(self.variables) + 1}"
        self.variables[name] = value
        return name


def with_argument(script: str, reference: str) -> str:
    """A script with one more argument at the end of its last command.

    Comments after that command are left out: they would swallow the argument.

    Raises:
        TemplateError: the script ends with a here-document, after which nothing can be added.
    """
    walked = _ShellText(script, _NOTHING, lambda number, state: "")
    walked.result()
    if walked.ends_in_here_document:
        raise TemplateError(
            "an argument can't be added to a script that ends with a here-document; "
            "use a template in the script instead"
        )
    return f"{script[: walked.length].rstrip()} {reference}"


class _ShellText:
    """Walks through a script, knows which quotes each hole is in, and fills the holes."""

    def __init__(
        self, script: str, hole: re.Pattern[str], insert: Callable[[int, str], str]
    ) -> None:
        self._rest = script
        self._hole = hole
        self._insert = insert
        self._states = ["plain"]
        self._delimiters: list[tuple[str, bool, bool]] = []
        self._out: list[str] = []
        self.ends_in_here_document = False
        self.length = 0
        """Where the script ends, without the comments and blank lines after its last command."""

    def result(self) -> str:
        at_word_start = True
        size = len(self._rest)
        while self._rest:
            hole = self._hole.match(self._rest)
            ignored = not hole and self._is_ignored(at_word_start)
            if hole:
                self._rest = self._rest[hole.end() :]
                self._out.append(self._insert(int(hole[1]), self._states[-1]))
                at_word_start = False
            else:
                at_word_start = self._step(self._states[-1], at_word_start)
            if not ignored:
                self.length = size - len(self._rest)
        return "".join(self._out)

    def _is_ignored(self, at_word_start: bool) -> bool:
        """Whether what comes next is a blank or a comment between commands."""
        if self._states[-1] not in _PLAIN or self._delimiters:
            return False
        return self._rest[0].isspace() or (self._rest[0] == "#" and at_word_start)

    def _take(self, count: int) -> str:
        taken, self._rest = self._rest[:count], self._rest[count:]
        self._out.append(taken)
        return taken

    def _step(self, state: str, at_word_start: bool) -> bool:
        """Take the next piece; whether a word may begin after it."""
        if state == "single":
            if self._take(1) == "'":
                self._states.pop()
        elif self._rest[0] == "\\":
            self._escape()
        elif self._begins_expansion():
            pass
        elif state in _ARITHMETIC:
            self._step_arithmetic(state)
        elif self._rest[0] == '"':
            self._take(1)
            if state == "double":
                self._states.pop()
            else:
                self._states.append("double")
        elif state == "double":
            self._take(1)
        else:
            return self._step_plain(state, at_word_start)
        return False

    def _escape(self) -> None:
        if self._hole.match(self._rest, 1):
            self._rest = self._rest[1:]  # the value is quoted whole; nothing is left to escape
        else:
            self._take(2)

    def _begins_expansion(self) -> bool:
        if self._rest.startswith("$(("):
            self._take(3)
            self._states.append("arithmetic")
        elif self._rest.startswith("$("):
            self._take(2)
            self._states.append("paren")
        elif self._rest[0] == "`":
            self._take(1)
            if "backtick" in self._states:
                while self._states.pop() != "backtick":
                    pass
            else:
                self._states.append("backtick")
        else:
            return False
        return True

    def _step_arithmetic(self, state: str) -> None:
        ends = state == "arithmetic" and self._rest.startswith("))")
        taken = self._take(2 if ends else 1)
        if ends or (taken == ")" and state == "arithmetic paren"):
            self._states.pop()
        elif taken == "(":
            self._states.append("arithmetic paren")

    def _step_plain(self, state: str, at_word_start: bool) -> bool:
        if self._rest.startswith("<<<"):
            self._take(3)
            return True
        here = _HERE_DOCUMENT.match(self._rest)
        if here:
            self._delimiters.append((here[3], bool(here[2]), bool(here[1])))
            self._take(here.end())
            return False
        if self._rest[0] == "#" and at_word_start:
            comment, newline, rest = self._rest.partition("\n")
            self._out.append(self._hole.sub("", comment))
            self._rest = newline + rest
            return True
        taken = self._take(1)
        if taken == "'":
            self._states.append("single")
        elif taken == "(":
            self._states.append("paren")
        elif taken == ")" and state == "paren":
            self._states.pop()
        elif taken == "\n" and self._delimiters:
            self._here_documents()
        return taken.isspace() or taken in ";&|("

    def _here_documents(self) -> None:
        for delimiter, quoted, tabs in self._delimiters:
            state = "quoted here-document" if quoted else "here-document"
            ended = False
            while self._rest and not ended:
                line, newline, self._rest = self._rest.partition("\n")
                ended = (line.lstrip("\t") if tabs else line) == delimiter
                self._out.append(self._fill(line, state))
                self._out.append(newline)
        self._delimiters.clear()
        self.ends_in_here_document = not self._rest.strip()

    def _fill(self, line: str, state: str) -> str:
        return self._hole.sub(lambda hole: self._insert(int(hole[1]), state), line)
