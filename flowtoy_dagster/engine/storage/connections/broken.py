"""What is done again where its connection to the database broke meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

T = TypeVar("T")


def again_where_broken(work: Callable[[], T]) -> T:
    """What a function gives; it is called again, for a new connection, where the one broke.

    Raises:
        DBAPIError: what the function raises for another reason, or both times.
    """
    try:
        return work()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    return work()
