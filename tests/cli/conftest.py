"""What the tests of commands have in common: a home whose databases need not be made."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def used_before(made_home: Path) -> Path:
    """The home folder, as if it had been used before."""
    return made_home
