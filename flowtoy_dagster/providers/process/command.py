"""Command strings: splitting them around templates, and giving them to a shell where they need one.

A string is split before its templates are rendered, so a value is never more than one argument.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.templates.jinja import TEXT_SINK, ShellQuoted, environment
from flowtoy_dagster.flow.templates.render import is_template, render
from flowtoy_dagster.flow.templates.values import text
from flowtoy_dagster.providers.process.programs import HOLE, SHELLS, code_words
from flowtoy_dagster.providers.process.shell import ShellScript, with_argument

SHELL = "/bin/sh"
_OPERATORS = frozenset("|&;<>()*?$`\n")
_WORD_ENDS = frozenset(" \t\n;&|()")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


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
        args: values, rendered already, that are appended; each is one argument.
        shell: whether a string goes to the shell even without operators.
        context: what the templates' names stand for.
        lenient: missing names give nothing.

    Raises:
        TemplateError: a template can't be rendered, or a value can't be passed.
    """
    if not isinstance(command, str):
        return _prepare_list(command, args, context, lenient)
    if not shell and not needs_shell(take_out_templates(command.strip())[0]):
        return _prepare_words(command.strip(), args, context, lenient)
    script = ShellScript(context, lenient=lenient)
    line = script.render(command.strip())
    for value in args:
        line = with_argument(line, script.reference(_argument(value)))
    return CommandLine((SHELL, "-c", line), script.variables, script=True)


def _prepare_words(
    command: str, args: Sequence[Any], context: Mapping[str, Any], lenient: bool
) -> CommandLine:
    """The words of a text that no shell reads."""
    pieces, units = take_out_templates(command)
    try:
        words = shlex.split(without_comments(pieces))
    except ValueError as error:
        raise TemplateError(f"the command can't be split: {str(error).lower()}") from None
    bare = outside_quotes(pieces)

    def fill(hole: re.Match[str]) -> str:
        number = int(hole[1])
        return _render(units[number], context, lenient, unquote=number in bare)

    scripts = script_indexes(words)
    shell_script = ShellScript(context, lenient=lenient)
    argv = []
    for index, word in enumerate(words):
        if index in scripts:
            source = HOLE.sub(lambda hole: units[int(hole[1])], word)
            argv.append(shell_script.render(source))
        else:
            argv.append(HOLE.sub(fill, word))
    return CommandLine((*argv, *map(_argument, args)), shell_script.variables)


def _prepare_list(
    command: Sequence[Any], args: Sequence[Any], context: Mapping[str, Any], lenient: bool
) -> CommandLine:
    scripts = script_indexes(with_holes(command)) if any(map(is_template, command)) else ()
    shell_script = ShellScript(context, lenient=lenient)
    argv = []
    for index, part in enumerate(command):
        field = f"command[{index}]"
        if index in scripts:
            try:
                argv.append(shell_script.render(part))
            except TemplateError as error:
                raise TemplateError(error.message, error.field or field) from None
        else:
            argv.append(_render(part, context, lenient, field=field))
    return CommandLine((*argv, *map(_argument, args)), shell_script.variables)


def script_indexes(words: Sequence[str]) -> frozenset[int]:
    """Which words, such as the last of `sh -c "echo {{ x }}"`, are scripts with templates.

    A script that is nothing but one template is meant as code, and none of them.

    Args:
        words: of a command, with holes for templates.
    """
    return frozenset(
        code.place
        for code in code_words(words)
        if code.program in SHELLS
        and code.passes_variables
        and HOLE.search(words[code.place])
        and HOLE.sub("", words[code.place]).strip()
    )


def with_holes(command: Sequence[Any]) -> list[str]:
    """The words of a command, with a numbered hole for each template in a word."""
    return [
        take_out_templates(part)[0] if isinstance(part, str) else text(part) for part in command
    ]


def _render(
    value: Any,
    context: Mapping[str, Any],
    lenient: bool,
    *,
    unquote: bool = False,
    field: str = "command",
) -> str:
    """One argument; `unquote` takes back what `shquote` did, as a shell would."""
    if not is_template(value):
        return _argument(value)
    try:
        if not unquote:
            return _argument(render(value, context, lenient=lenient))
        # The full stop keeps a string that is one expression from giving a native value.
        marked: str = render(f"{value}.", {**context, TEXT_SINK: _unquoted}, lenient=lenient)
        return _argument(marked[:-1])
    except TemplateError as error:
        raise TemplateError(error.message, field) from None


def _unquoted(value: Any) -> str:
    return value.original if isinstance(value, ShellQuoted) else text(value)


def _argument(value: Any) -> str:
    found = text(value)
    if "\0" in found:
        raise TemplateError("a value with a NUL character can't be an argument")
    return found


def check_command(command: str, *, shell: bool = False) -> None:
    """Raise ValueError where a command string can't be run.

    Args:
        command: as written.
        shell: whether it goes to the shell even without operators, or that is not known.
    """
    if "\0" in command:
        raise ValueError("a command can't hold a NUL character")
    pieces, _ = take_out_templates(command.strip())
    if not without_comments(pieces).strip():
        raise ValueError("the command is empty")
    if not shell and not needs_shell(pieces):
        try:
            shlex.split(without_comments(pieces))
        except ValueError as error:
            raise ValueError(f"the command can't be split: {str(error).lower()}") from None


def needs_shell(command: str) -> bool:
    """Whether a command uses shell operators outside quotes."""
    previous = " "
    for character, kind in _characters(command):
        home = character == "~" and previous.isspace()
        if not kind and (character in _OPERATORS or home):
            return True
        previous = character
    return bool(_ASSIGNMENT.match(command))


def without_comments(command: str) -> str:
    """A command without its comments, as a shell reads it; the ends of lines stay."""
    return "".join(character for character, kind in _characters(command) if kind != "comment")


def _characters(command: str) -> Iterator[tuple[str, str]]:
    """Each character of a command, and whether it is `quoted` (or escaped), `comment` or `""`."""
    quote = ""
    escaped = False
    comment = False
    previous = "\n"
    for character in command:
        comment = (comment and character != "\n") or (
            character == "#" and not quote and not escaped and previous in _WORD_ENDS
        )
        previous = "\\" if escaped else character
        if comment:
            yield character, "comment"
            continue
        yield character, "quoted" if escaped or quote else ""
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character


def outside_quotes(pieces: str) -> frozenset[int]:
    """The numbers of the holes outside of quotes."""
    quoted = [bool(kind) for _, kind in _characters(pieces)]
    return frozenset(
        int(hole[1]) for hole in HOLE.finditer(pieces) if not quoted[hole.start()]
    )


def take_out_templates(command: str) -> tuple[str, list[str]]:
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
    except jinja2.TemplateSyntaxError:  # the graph reports it
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
