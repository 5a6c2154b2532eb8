"""The standard streams of a command: there from the start, and never a reason to fail."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any

from flowtoy_dagster.errors import RunError, system_reason


class StdoutError(RunError):
    """What was to be printed can't be: the disk is full, for example."""


class _Descriptor(io.FileIO):
    """A descriptor that says that it can't be written in words for people."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            reason = system_reason(error)
            raise StdoutError(f"can't write to stdout: {reason}") from None


def printing_to(descriptor: int, *, closefd: bool) -> io.BufferedWriter:
    """A binary file for what a command prints; raises StdoutError where that fails."""
    return io.BufferedWriter(_Descriptor(descriptor, "w", closefd=closefd))


def discard_stdout(descriptor: int = 1) -> None:
    """Nothing more is to be printed, nor what is still held: it would fail again."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def watch_stdout() -> None:
    """Let whatever prints to stdout raise StdoutError where that fails."""
    old = sys.stdout
    if isinstance(old, io.TextIOWrapper):
        sys.stdout = io.TextIOWrapper(
            printing_to(1, closefd=False),
            encoding=old.encoding,
            errors=old.errors,
            line_buffering=old.line_buffering,
            write_through=old.write_through,
        )


def open_missing_streams() -> None:
    """Open what was closed at the start on the null device.

    Otherwise the next file that is opened would be stdout or stderr for whatever writes there, and
    for every process that is started.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            os.dup2(opened, number)
            if opened != number:
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
    with contextlib.suppress(AttributeError, ValueError):
        # A terminal or a locale that can't show a character must not end the command.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
