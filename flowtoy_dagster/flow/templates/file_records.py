"""The filter `records`: the records of a file that a step has written (language 20.4)."""

from __future__ import annotations

import itertools
from typing import Any

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.templates.values import native

MOST = 1_000_000
"""Records of a list that a template may make."""


def file_records(value: Any, limit: int | None = None) -> list[Any]:
    """A list of a file's records.

    Args:
        value: the value of a file output.
        limit: how many there are at most; None for all.

    Raises:
        TemplateError: it is no such value, the file can't be read, or there are too many.
    """
    # Loaded where they are needed: they bring the readers of the formats.
    from flowtoy_dagster.datafiles.facts import file_facts
    from flowtoy_dagster.datafiles.places import PlaceError
    from flowtoy_dagster.datafiles.reading import read_records

    facts = file_facts(native(value))
    if facts is None:
        raise TemplateError("records: expected the value of an output of type 'file'")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise TemplateError(f"records: 'limit' must be a whole number, 0 or more, not {limit!r}")
    most = MOST + 1 if limit is None else min(limit, MOST + 1)
    try:
        found = list(itertools.islice(read_records(facts), most))
    except PlaceError as error:
        raise TemplateError(f"records: {error}") from None
    if len(found) > MOST:
        raise TemplateError(f"records: a list has {MOST:,} records at most; give a 'limit'")
    return found
