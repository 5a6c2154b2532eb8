"""What a program gives to the functions of the API: checked before anything else happens."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.schema.fields import Misplaced
from flowtoy_dagster.flow.schema.tags import check_run_tags


def folder(name: str, given: str | os.PathLike[str] | None) -> Path | None:
    """A folder, as a path; None where none is given.

    Args:
        name: the argument's.
        given: its value. An empty path would be the working directory, which nobody means.

    Raises:
        UsageError: it is no path.
    """
    if given is None:
        return None
    if not isinstance(given, (str, os.PathLike)) or not str(given) or "\0" in str(given):
        raise UsageError(f"{name}: expected the path of a folder, got {show(given)}")
    return Path(given)


def run_tags(given: Mapping[str, str] | None) -> Mapping[str, str]:
    """The tags of a run.

    Raises:
        UsageError: they are no mapping of texts, or one of them is not the user's to set.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise UsageError(f"tags: expected a mapping of texts, got {show(given)}")
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str):
            wrong = value if isinstance(name, str) else name
            raise UsageError(f"tags: expected a mapping of texts, got {show(wrong)} in it")
    try:
        return check_run_tags(given)
    except Misplaced as error:
        hint = f"\n    {error.hint}" if error.hint else ""
        raise UsageError(f"{error}{hint}") from None
