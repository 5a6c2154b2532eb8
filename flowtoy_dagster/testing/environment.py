"""The environment of a test: the variables that it sets, and no others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

_OF_PROGRAMS = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "USER", "SYSTEMROOT")
"""What programs need to be found and to start."""


class TestEnvironment:
    """Variables that stand in for those of this process.

    Args:
        variables: by name.
    """

    __test__ = False

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)
        self._own: dict[str, str] = {}

    @contextlib.contextmanager
    def set(self) -> Iterator[None]:
        """Let this process see nothing else, for the length of a block."""
        self._own = dict(os.environ)
        try:
            _become(self._variables)
            yield
        finally:
            _become(self._own)

    @contextlib.contextmanager
    def for_programs(self) -> Iterator[None]:
        """Add what programs need, for the length of a block within `set`."""
        needed = {name: self._own[name] for name in _OF_PROGRAMS if name in self._own}
        try:
            _become({**needed, **self._variables})
            yield
        finally:
            _become(self._variables)


def _become(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)
