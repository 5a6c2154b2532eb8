"""Warnings of templates whose values a program would read as code (language 11.3)."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
from jinja2 import nodes

from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.templates.render import is_template, parse
from flowtoy_dagster.flow.templates.values import text
from flowtoy_dagster.providers.process.command import (
    needs_shell,
    outside_quotes,
    script_indexes,
    take_out_templates,
    without_comments,
)
from flowtoy_dagster.providers.process.programs import HOLE, code_words, reader_of_stdin
from flowtoy_dagster.providers.process.shell_words import Word as ScriptWord
from flowtoy_dagster.providers.process.shell_words import commands_of

_NUMBERS = frozenset({"int", "float", "length", "count"})
"""Filters whose results are never more than a number."""


class _Text(NamedTuple):
    """A text of the configuration with holes, and the template and the line of each."""

    pieces: str
    path: KeyPath
    units: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()

    @classmethod
    def of(cls, value: Any, path: KeyPath) -> _Text:
        if not is_template(value):
            return cls(text(value), path)
        pieces, units = take_out_templates(value)
        lines, line, at = [], 1, 0
        for hole, unit in zip(HOLE.finditer(pieces), units, strict=True):
            line += pieces.count("\n", at, hole.start())
            lines.append(line)
            line += unit.count("\n")
            at = hole.end()
        return cls(pieces, path, tuple(units), tuple(lines))


class _Word(NamedTuple):
    """A word of a command, the text that it is from, and its holes outside of quotes."""

    text: str
    source: _Text
    bare: Collection[int] = ()


def code_findings(configuration: Mapping[str, Any]) -> list[Finding]:
    """A warning for each word of a command that is code with data in it.

    Args:
        configuration: of a process, as written and valid.
    """
    command = configuration.get("command")
    args = list(_words(configuration.get("args"), "args"))
    if not isinstance(command, str):
        words = list(_words(command, "command"))
        safe = script_indexes([word.text for word in words])
        return [*_findings([*words, *args], safe), *_on_stdin([*words, *args], configuration)]
    whole = _Text.of(command, ("command",))
    if configuration.get("shell", False) is not False or needs_shell(whole.pieces.strip()):
        *most, last = _commands(whole) or [[]]
        return [
            finding for words in (*most, [*last, *args]) for finding in _findings(words, ())
        ]
    bare = outside_quotes(whole.pieces)
    split = shlex.split(without_comments(whole.pieces))
    words = [_Word(part, whole, bare) for part in split]
    words += args
    return [*_findings(words, script_indexes(split)), *_on_stdin(words, configuration)]


def _words(parts: Any, key: str) -> Iterator[_Word]:
    if isinstance(parts, (list, tuple)):
        for index, part in enumerate(parts):
            source = _Text.of(part, (key, index))
            yield _Word(source.pieces, source)


def _commands(whole: _Text) -> list[list[_Word]]:
    """The commands of a script."""
    return [
        [_Word(word.text, whole, _bare_holes(word)) for word in command]
        for command in commands_of(whole.pieces)
    ]


def _bare_holes(word: ScriptWord) -> frozenset[int]:
    return frozenset(
        int(hole[1]) for hole in HOLE.finditer(word.text) if not word.quoted[hole.start()]
    )


def _findings(words: Sequence[_Word], safe: Collection[int]) -> Iterator[Finding]:
    for code in code_words([word.text for word in words]):
        word = words[code.place]
        for hole in HOLE.finditer(word.text, code.start):
            number = int(hole[1])
            if code.place in safe or not _is_data(word, number, code.language):
                continue
            message = f"'{code.program}' reads the value of this template as code"
            line = word.source.lines[number]
            yield Finding(word.source.path, message, code.advice, line=line, warning=True)


def _on_stdin(words: Sequence[_Word], configuration: Mapping[str, Any]) -> Iterator[Finding]:
    """A warning for data in a text on stdin that is the program's code."""
    reader = reader_of_stdin([word.text for word in words])
    if reader is None or configuration.get("stdin") is None:
        return
    program, language, advice = reader
    word = _Word("", _Text.of(configuration["stdin"], ("stdin",)))
    for hole in HOLE.finditer(word.source.pieces):
        number = int(hole[1])
        if _is_data(word, number, language):
            message = f"'{program}' reads the value of this template as code"
            line = word.source.lines[number]
            yield Finding(word.source.path, message, advice, line=line, warning=True)


def _is_data(word: _Word, number: int, language: str) -> bool:
    """Whether a template may give what is more than one word or literal to what reads it."""
    try:
        tree = parse(word.source.units[number])
    except jinja2.TemplateSyntaxError:  # the graph reports it
        return False
    harmless = set(_NUMBERS)
    if language == "shell" and number not in word.bare:
        harmless.add("shquote")
    if language == "json":
        harmless.add("tojson")
    return any(
        not isinstance(part, (nodes.TemplateData, nodes.Const))
        and not (isinstance(part, nodes.Filter) and part.name in harmless)
        for output in tree.find_all(nodes.Output)
        for part in output.nodes
    )
