"""Why a command could not be started, in words (docs/reference/providers/process.md)."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Mapping

from flowtoy_dagster.errors import system_reason
from flowtoy_dagster.providers.process.command import CommandLine

_FIRST_LINE = 256
_BOM = b"\xef\xbb\xbf"


def called(line: CommandLine) -> str:
    """What a command is called in messages."""
    return "the shell command" if line.script else line.argv[0]


def why_not_started(
    error: OSError | ValueError, line: CommandLine, cwd: str | None, variables: Mapping[str, str]
) -> str:
    """Why nothing ran.

    Args:
        error: what starting the command raised.
        line: the command.
        cwd: its working directory; None for that of this process.
        variables: what is added to its environment.
    """
    program = line.argv[0]
    if isinstance(error, ValueError):
        return f"{called(line)} could not be started: {_unusable(cwd, variables) or error}"
    if cwd is not None and error.filename == cwd:
        return f"the working directory '{cwd}' can't be entered: {(error.strerror or '').lower()}"
    if not program:
        return "the name of the program is empty"
    reason = _of_its_file(error, program, cwd)
    if reason is not None:
        return f"'{program}' can't be executed: {reason}"
    if isinstance(error, FileNotFoundError):
        return f"command not found: '{program}'"
    reason = system_reason(error)
    if "too long" in reason:
        reason += " (pass large values by 'stdin')"
    return f"{called(line)} could not be started: {reason}"


def _unusable(cwd: str | None, variables: Mapping[str, str]) -> str | None:
    """Which value no operating system takes; None where all could be taken."""
    for name, value in variables.items():
        if not name or re.search("[=\0]", name):
            return f"{name!r} can't be the name of an environment variable"
        if "\0" in value:
            return f"the variable '{name}' holds a NUL character"
    return "'cwd' holds a NUL character" if "\0" in (cwd or "") else None


def _of_its_file(error: OSError, program: str, cwd: str | None) -> str | None:
    """What is wrong with the file that a command names; None where it is not the file."""
    path = os.path.join(cwd or "", program) if "/" in program else shutil.which(program)
    if path is None or not os.path.exists(path):
        return "permission denied" if isinstance(error, PermissionError) else None
    if os.path.isdir(path):
        return "it is a folder"
    if isinstance(error, FileNotFoundError):
        found = _interpreter(path)
        return f"bad interpreter: {found} not found{_line_ends(found)}" if found else (
            "its loader or interpreter is not found"
        )
    if isinstance(error, PermissionError):
        found = _interpreter(path) if os.access(path, os.X_OK) else None
        return f"bad interpreter: {found} can't be executed" if found else "permission denied"
    return _no_format(path) if error.errno == errno.ENOEXEC else None


def _interpreter(path: str) -> str | None:
    """What the first line of a script names, as Python writes a text; None where it names none."""
    first = _beginning(path)
    if not first.startswith(b"#!"):
        return None
    words = first[2:].partition(b"\n")[0].decode("utf-8", "backslashreplace")
    return repr(re.split("[ \t]", words.strip(" \t"))[0])


def _line_ends(interpreter: str) -> str:
    return " (the file has Windows line ends)" if interpreter.endswith("\\r'") else ""


def _no_format(path: str) -> str:
    """Why a file that may be executed is no program."""
    first = _beginning(path)
    if not first:
        return "the file is empty"
    if first.startswith((_BOM + b"#!", b"\xff\xfe#", b"\xfe\xff\0#")):
        return "there is a byte order mark before '#!' (save it as UTF-8 without one)"
    if b"\0" in first:
        return "it is no program for this machine"
    return "its first line is not '#!' and an interpreter, such as '#!/bin/sh'"


def _beginning(path: str) -> bytes:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(_FIRST_LINE)
    return b""
