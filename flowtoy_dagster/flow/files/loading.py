"""Files to one merged document (language 1)."""

from __future__ import annotations

import codecs
import functools
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flowtoy_dagster.errors import ConfigError, Location, Problem, system_reason
from flowtoy_dagster.flow.files.missing_file import missing_file_hint
from flowtoy_dagster.flow.files.nodes import Mark, Node, from_plain, merge
from flowtoy_dagster.flow.files.saved_places import located, merged_files
from flowtoy_dagster.flow.files.suffixes import OF_TESTS
from flowtoy_dagster.flow.files.yaml_reader import MAX_FILE_BYTES, read_document
from flowtoy_dagster.machine.working_directory import absolute

STDIN = "-"
NO_FILE = "<mapping>"
_FILE_ORDER = MAX_FILE_BYTES + 1


class Document(NamedTuple):
    """A merged configuration.

    Attributes:
        root: the tree with its positions.
        default_name: the name that it has where it gives none.
        folder: where its first file is; the working directory where it is no file. None where
            that was deleted.
        files: the files that it was merged from, as absolute paths; none where it is no file.
    """

    root: Node
    default_name: str
    folder: str | None = None
    files: tuple[str, ...] = ()


def read_files(paths: Sequence[str | Path]) -> Document:
    """Read and merge YAML files, left to right; `-` is standard input.

    Raises:
        ConfigError: a file can't be read, is not YAML or is not a mapping.
    """
    return merged(read_parts(paths), paths)


def read_parts(paths: Sequence[str | Path]) -> list[Node]:
    """The trees of YAML files that are to be merged; each file is read once.

    Raises:
        ConfigError: a file can't be read, is not YAML or is not a mapping.
    """
    if not paths:
        raise ConfigError([Problem("no configuration file given")])
    problems: list[Problem] = []
    parts: list[Node] = []
    for index, path in enumerate(paths):
        try:
            node = _read_file(str(path), index * _FILE_ORDER)
        except ConfigError as error:
            problems.extend(error.problems)
            continue
        parts.append(node)
    if problems:
        raise ConfigError(problems)
    return parts


def merged(parts: Sequence[Node], paths: Sequence[str | Path]) -> Document:
    """The document of files, left to right.

    Args:
        parts: their trees, at least one.
        paths: the files.
    """
    first = str(paths[0])
    root = functools.reduce(merge, parts)
    if first == STDIN:
        return Document(root, "stdin", absolute("."))
    files = () if STDIN in paths else tuple(os.path.abspath(path) for path in paths)
    return Document(root, Path(first).stem, absolute(os.path.dirname(first) or "."), files)


def read_mapping(config: Mapping[str, Any], places: Any = None) -> Document:
    """A document for a configuration that is already a mapping.

    Args:
        config: the mapping.
        places: what `saved_places.packed` gave of the files that it came from.

    Raises:
        ConfigError: no file could hold it.
    """
    mark = Mark(Location(NO_FILE, 0, 0), 0)
    config = dict(config)
    try:
        root = from_plain(config, mark) if places is None else located(config, places, mark)
    except ValueError as error:
        raise ConfigError([Problem(f"the configuration can't be read: {error}")]) from None
    return Document(root, "flow", absolute("."), merged_files(places))


def _read_file(path: str, first_order: int) -> Node:
    name = "<stdin>" if path == STDIN else path
    node = read_document(_read_text(path, name, first_order), name, first_order)
    if not isinstance(node.value, dict):
        message = "the top level of a configuration must be a mapping"
        keys = "'flow:' and 'tests:'" if path.endswith(OF_TESTS) else "'sources:' and 'flow:'"
        hint = f"write {keys} at the left margin"
        if path != STDIN and Path(path).suffix not in (".yaml", ".yml"):
            hint = "a flow is a YAML file"
        raise ConfigError([Problem(message, node.mark.location, hint, order=node.mark.order)])
    return node


def _read_text(path: str, name: str, first_order: int) -> str:
    try:
        if path == STDIN:
            data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = system_reason(error)
        message = f"can't read the configuration '{path}': {reason}"
        is_no_file = isinstance(error, (FileNotFoundError, IsADirectoryError))
        hint = missing_file_hint(path) if is_no_file else None
        raise ConfigError([Problem(message, hint=hint, order=first_order)]) from None
    start = Location(name, 1, 1)
    if len(data) > MAX_FILE_BYTES:
        message = f"larger than {MAX_FILE_BYTES // 2**20} MiB"
        hint = "a configuration is not meant for data"
        raise ConfigError([Problem(message, start, hint, order=first_order)])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        place = Location(name, line, column)
        message, hint = "not UTF-8 text", "save the file as UTF-8"
        if b"\0" in data and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            message, hint = "this is a binary file, not YAML", "a flow is a YAML file"
        raise ConfigError([Problem(message, place, hint, order=first_order)]) from None
