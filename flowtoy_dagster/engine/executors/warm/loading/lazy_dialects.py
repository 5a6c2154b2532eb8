"""SQLAlchemy's dialects of other databases, which tables name and a run on SQLite never uses.

Dagster's tables say how an index is made in MySQL and PostgreSQL (`mysql_length=64`). SQLAlchemy
imports the whole dialect to know which options there are. No Dagster in here.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy
from sqlalchemy.sql.base import DialectKWArgs

INDEX_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "mysql": {"using": None, "length": None, "prefix": None, "with_parser": None},
    "postgresql": {
        "using": False, "include": None, "where": None, "ops": {}, "concurrently": False,
        "with": {}, "tablespace": None, "nulls_not_distinct": None,
    },
}  # fmt: skip
"""The options of an index and their defaults, as the dialects' `construct_arguments` have them."""

KNOWN_VERSIONS = ("2.0.", "2.1.")
"""Of SQLAlchemy, whose options these are. Any other imports its dialects."""


@contextlib.contextmanager
def index_options() -> Iterator[None]:
    """Let indexes be made meanwhile without importing the dialects that their options name.

    Afterwards the dialects are asked again, so that others' tables can have all of their options.
    """
    known = DialectKWArgs._kw_registry
    told = INDEX_OPTIONS if sqlalchemy.__version__.startswith(KNOWN_VERSIONS) else {}
    added = {name: {sqlalchemy.Index: dict(told[name])} for name in told.keys() - known.keys()}
    known.update(added)
    try:
        yield
    finally:
        for name in added:
            del known[name]
