"""Files that one command would read and overwrite, as in `run flow.yaml -o flow.yaml`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flowtoy_dagster.errors import UsageError

_WRITE = ("--output-file", "-o", "--address-file", "--junit")
_READ = ("--params-file", "--env-file")
_YAML = (".yaml", ".yml")


def refuse_overwriting(command: Any, arguments: Sequence[str]) -> None:
    """Raise UsageError where an option names a file to write that the command reads.

    Args:
        command: one of ours, or a group of them.
        arguments: what is written behind its name.
    """
    given = list(_given(command, arguments))
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
    """Each option with its value, and the other arguments with an empty text."""
    options = [param for param in command.params if param.param_type_name == "option"]
    taking = {name for param in options if not param.is_flag for name in param.opts}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument in taking:
            yield argument, next(rest, "")
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
