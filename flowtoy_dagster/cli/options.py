"""Options that several commands take, and what they do before Dagster is imported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from flowtoy_dagster.errors import ConfigError, Location, Problem, UsageError


class LogLevel(str, Enum):
    """How much of the log is shown on stderr."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


def load_env_files(paths: Sequence[Path]) -> None:
    """Set the variables of dotenv files; those already set win (language 1.7).

    Raises:
        UsageError: a file can't be read.
        ConfigError: a line is not `NAME=value`.
    """
    if not paths:
        return
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                problems = [
                    Problem("not a line of the form NAME=value",
                            Location(str(path), binding.original.line, 1))
                    for binding in parse_stream(file)
                    if binding.error
                ]
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise UsageError(f"can't read the env file '{path}': {str(reason).lower()}") from None
        if problems:
            raise ConfigError(problems)
        for name, value in dotenv_values(path).items():
            if value is not None:
                os.environ.setdefault(name, value)
