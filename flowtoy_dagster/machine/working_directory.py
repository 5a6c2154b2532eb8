"""The working directory of this process, which may have been deleted."""

from __future__ import annotations

import os

DELETED = "the working directory is deleted"
"""Said of what needs one; relative paths do."""


def working_directory() -> str | None:
    """The working directory of this process; None where it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return None


def absolute(path: str) -> str | None:
    """A path from the root; None for a relative path where the working directory was deleted."""
    try:
        return os.path.abspath(path)
    except OSError:
        return None
