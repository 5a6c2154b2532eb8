"""Command strings: splitting them around templates, and passing values through a shell safely.

A string is split before its templates are rendered, so a value is never more than one argument.
Where a shell runs the string, values travel in environment variables and the script holds quoted
references to them: a shell never parses a value, so data can't become code.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.templating import (
    TEXT_SINK,
    ShellQuoted,
    environment,
    is_template,
    render,
    text,
)

SHELL = "/bin/sh"
VALUE_PREFIX = "FLOWTOY_VALUE_"
_OPERATORS = frozenset("|&;<>()*?$`\n")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_HOLE = re.compile("\0(\\d+)\0")
_HERE_DOCUMENT = re.compile(r"<<-?\s*(\\?|['\"]?)([\w.-]+)['\"]?")
_NUMBER = re.compile(r"\s*[-+]?\d+\s*")


@dataclass(frozen=True)
class CommandLine:
    """What is executed.

    Attributes:
        argv: the program and its arguments.
        variables: values that the shell script in `argv` refers to.
        script: whether `argv` runs a shell script.
    """

    argv: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    script: bool = False


def prepare(
    command: str | Sequence[Any],
    args: Sequence[Any],
    *,
    shell: bool,
    context: Mapping[str, Any],
    lenient: bool = False,
) -> CommandLine:
    """Render a command.

    Args:
        command: as written; a list is taken as it is, a string is split or given to a shell.
        args: appended; each is one argument.
        shell: whether a string goes to the shell even without operators.
        context: what the templates' names stand for.
        lenient: missing names give nothing.

    Raises:
        TemplateError: a template can't be rendered, or a value can't be passed.
    """

    def one(value: Any) -> str:
        found = text(render(value, context, lenient=lenient) if is_template(value) else value)
        if "\0" in found:
            raise TemplateError("a value with a NUL character can't be an argument")
        return found

    if not isinstance(command, str):
        return CommandLine(tuple(one(part) for part in [*command, *args]))
    pieces, units = _take_out_templates(command.strip())
    if shell or needs_shell(pieces):
        script = _Script(context, lenient)
        line = script.render(command.strip())
        line = " ".join([line, *(script.reference(one(value)) for value in args)])
        return CommandLine((SHELL, "-c", line), script.variables, script=True)
    try:
        words = shlex.split(pieces)
    except ValueError as error:
        raise TemplateError(f"the command can't be split: {str(error).lower()}") from None
    argv = [_HOLE.sub(lambda m: one(units[int(m[1])]), word) for word in words]
    return CommandLine((*argv, *(one(value) for value in args)))


def check_command(command: str) -> None:
    """Raise ValueError where a command string can't be split."""
    pieces, _ = _take_out_templates(command.strip())
    if not pieces.strip():
        raise ValueError("the command is empty")
    if not needs_shell(pieces):
        try:
            shlex.split(pieces)
        except ValueError as error:
            raise ValueError(f"the command can't be split: {str(error).lower()}") from None


def needs_shell(command: str) -> bool:
    """Whether a command uses shell operators outside quotes."""
    quote = ""
    escaped = False
    for index, character in enumerate(command):
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _OPERATORS:
            return True
        elif character == "~" and (index == 0 or command[index - 1].isspace()):
            return True
    return bool(_ASSIGNMENT.match(command))


def _take_out_templates(command: str) -> tuple[str, list[str]]:
    """The command with each template replaced by a numbered hole, and the templates.

    A statement with a body (`{% if … %}…{% endif %}`) is one template.
    """
    units: list[str] = []
    shown: list[str] = []
    depth = 0
    for kind, value in _tokens(command):
        if kind == "text" and depth == 0:
            shown.append(value)
            continue
        if depth == 0:
            shown.append(f"\0{len(units)}\0")
            units.append("")
        units[-1] += value
        depth += _depth_change(value) if kind == "block" else 0
    return "".join(shown), units


def _tokens(command: str) -> list[tuple[str, str]]:
    """The command in pieces: `text`, `print` (`{{ }}`), `comment` and `block` (`{% %}`)."""
    found: list[tuple[str, str]] = []
    kinds = {"variable": "print", "block": "block", "comment": "comment", "raw": "raw"}
    within = ""
    try:
        for _, token, value in environment.lex(command):
            if token.endswith("_begin"):
                within = token.removesuffix("_begin")
                found.append((kinds[within], value))
            elif within:
                found[-1] = (found[-1][0], found[-1][1] + value)
                within = "" if token == f"{within}_end" else within
            else:
                found.append(("text", value))
    except Exception:  # the graph has told of malformed templates already
        return [("text", command)]
    return found


def _depth_change(block: str) -> int:
    name = re.match(r"\{%[-+]?\s*(\w+)", block)
    if name is None:
        return 0
    word = name[1]
    if word.startswith("end"):
        return -1
    opens = word in ("if", "for", "filter", "macro", "call", "with", "autoescape")
    return 1 if opens or (word == "set" and "=" not in block) else 0


class _Script:
    """A shell script under construction; values become environment variables."""

    def __init__(self, context: Mapping[str, Any], lenient: bool) -> None:
        self.variables: dict[str, str] = {}
        self._values: list[str] = []
        self._context = {**context, TEXT_SINK: self._hole_for}
        self._lenient = lenient

    def render(self, source: str) -> str:
        if not is_template(source):
            return source
        # The space keeps a string that is one expression from being taken as a native value.
        marked = text(render(source + " ", self._context, lenient=self._lenient))
        return _ShellText(marked.rstrip(), self._insert).result()

    def reference(self, value: str) -> str:
        """A quoted reference to a value."""
        return f'"${{{self._name_for(value)}}}"'

    def _hole_for(self, value: Any) -> str:
        self._values.append(value.original if isinstance(value, ShellQuoted) else text(value))
        return f"\0{len(self._values) - 1}\0"

    def _value(self, number: int) -> str:
        return _HOLE.sub(lambda m: self._value(int(m[1])), self._values[number])

    def _insert(self, number: int, state: str) -> str:
        value = self._value(number)
        if "\0" in value:
            raise TemplateError("a value with a NUL character can't be passed to a command")
        if state == "quoted here-document":
            raise TemplateError(
                "a value can't be passed in a here-document whose delimiter is quoted; "
                "take the quotes off the delimiter"
            )
        if state == "arithmetic" and not _NUMBER.fullmatch(value):
            raise TemplateError("a value in shell arithmetic must be a whole number")
        if state == "single":
            return f"'{self.reference(value)}'"
        if state == "plain":
            return self.reference(value)
        return f"${{{self._name_for(value)}}}"

    def _name_for(self, value: str) -> str:
        name = f"{VALUE_PREFIX}{len(self.variables) + 1}"
        self.variables[name] = value
        return name


class _ShellText:
    """Walks through a script, knows what quotes each hole stands in, and fills the holes."""

    def __init__(self, script: str, insert: Callable[[int, str], str]) -> None:
        self._rest = script
        self._insert = insert
        self._states = ["plain"]
        self._delimiters: list[tuple[str, bool]] = []
        self._out: list[str] = []

    def result(self) -> str:
        at_word_start = True
        while self._rest:
            state = self._states[-1]
            hole = _HOLE.match(self._rest)
            if hole:
                self._fill(hole, state)
                at_word_start = False
                continue
            at_word_start = self._step(state, at_word_start)
        return "".join(self._out)

    def _take(self, count: int) -> str:
        taken, self._rest = self._rest[:count], self._rest[count:]
        self._out.append(taken)
        return taken

    def _fill(self, hole: re.Match[str], state: str) -> None:
        self._rest = self._rest[hole.end():]
        self._out.append(self._insert(int(hole[1]), state))

    def _step(self, state: str, at_word_start: bool) -> bool:
        rest = self._rest
        if rest[0] == "\\" and state != "single":
            if _HOLE.match(rest, 1):
                self._rest = rest[1:]  # the value is quoted whole; nothing is left to escape
            else:
                self._take(2)
            return False
        if state == "single":
            if self._take(1) == "'":
                self._states.pop()
        elif rest.startswith("$(("):
            self._take(3)
            self._states.append("arithmetic")
        elif state == "arithmetic":
            if self._take(2 if rest.startswith("))") else 1) == "))":
                self._states.pop()
        elif rest.startswith("$("):
            self._take(2)
            self._states.append("plain")
        elif rest[0] == "`":
            self._take(1)
            if "backtick" in self._states:
                while self._states.pop() != "backtick":
                    pass
            else:
                self._states += ["backtick", "plain"]
        elif rest[0] == '"':
            self._take(1)
            if state == "double":
                self._states.pop()
            else:
                self._states.append("double")
        elif state == "plain":
            return self._step_plain(at_word_start)
        else:
            self._take(1)
        return False

    def _step_plain(self, at_word_start: bool) -> bool:
        here = _HERE_DOCUMENT.match(self._rest)
        if here and not self._rest.startswith("<<<"):
            self._delimiters.append((here[2], bool(here[1])))
            self._take(here.end())
            return False
        if self._rest[0] == "#" and at_word_start:
            end = self._rest.find("\n")
            self._comment(len(self._rest) if end < 0 else end)
            return True
        taken = self._take(1)
        if taken == "'":
            self._states.append("single")
        elif taken == ")" and len(self._states) > 1:
            self._states.pop()
        elif taken == "\n" and self._delimiters:
            self._here_documents()
        return taken.isspace() or taken in ";&|("

    def _comment(self, length: int) -> None:
        comment, self._rest = self._rest[:length], self._rest[length:]
        self._out.append(_HOLE.sub("", comment))

    def _here_documents(self) -> None:
        for delimiter, quoted in self._delimiters:
            state = "quoted here-document" if quoted else "here-document"
            while self._rest:
                line, newline, self._rest = self._rest.partition("\n")
                self._out.append(
                    _HOLE.sub(lambda m, state=state: self._insert(int(m[1]), state), line)  # type: ignore[misc]
                )
                self._out.append(newline)
                if line.strip("\t") == delimiter:
                    break
        self._delimiters.clear()
