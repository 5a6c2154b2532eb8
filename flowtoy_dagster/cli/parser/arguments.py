"""Arguments that can't be meant: empty values of options, files that are read and overwritten."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flowtoy_dagster.errors import UsageError

_WRITE = ("--output-file", "-o", "--address-file", "--junit")
_READ = ("--params-file", "--env-file")
_YAML = (".yaml", ".yml")


def check_arguments(command: Any, arguments: Sequence[str]) -> None:
    """Raise UsageError where an option of a command has a value that can't be meant.

    An empty one is that of a variable of the shell that is not set. A file to write must be none
    that the command reads, as in `run flow.yaml -o flow.yaml`.

    Args:
        command: one of ours, or a group of them.
        arguments: what is written behind its name.
    """
    given = list(_given(command, arguments))
    empty = next((option for option, value in given if option and not value), None)
    if empty is not None:
        raise UsageError(f"{empty}: the value is empty; a variable of the shell may not be set")
    written = [(option, value) for option, value in given if option in _WRITE]
    read = [value for option, value in given if option in _READ or not option]
    takes_run = any(p.param_type_name == "argument" and p.name == "run" for p in command.params)
    for option, target in written:
        for value in read[1:] if takes_run else read:
            if _is_read(Path(value), Path(target)):
                raise UsageError(
                    f"{option}: '{target}' is read by this command, and would be overwritten"
                )


def _given(command: Any, arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each option with its value, and the other arguments with an empty text for the option."""
    options = [param for param in command.params if param.param_type_name == "option"]
    taking = {name for param in options if not param.is_flag for name in param.opts}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument in taking:
            yield from ((argument, following) for following in itertools.islice(rest, 1))
        elif equals and name in taking:
            yield name, value
        elif argument[:2] in taking and not argument.startswith("--"):
            yield argument[:2], argument[2:]
        elif argument == "--":
            yield from (("", other) for other in rest)
        elif not argument.startswith("-"):
            yield "", argument


def _is_read(read: Path, target: Path) -> bool:
    try:
        if os.path.samefile(read, target):
            return target.is_file()
        inside = read.is_dir() and target.resolve().is_relative_to(read.resolve())
        return inside and target.suffix in _YAML
    except (OSError, ValueError):
        return False  # one of them is not there
