"""What the tests of `flowtoy doctor` have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flowtoy_dagster.doctor.examine import examine
from flowtoy_dagster.health import Health


@pytest.fixture
def answers() -> Callable[..., list[Health]]:
    """What the parts answer; all, or those of some names."""
    return lambda *parts: [one for one in examine() if not parts or one.part in parts]


def tree(folder: Path) -> list[tuple[str, int, int]]:
    """All that is in a folder, with modes and times of changes."""
    return sorted(
        (str(path), facts.st_mode, facts.st_mtime_ns)
        for path in (folder, *folder.rglob("*")) for facts in [path.lstat()]
    )


@pytest.fixture
def unchanged(home: Path, tmp_path: Path) -> Callable[[], bool]:
    """Whether nothing in the home and in the test's folder was written since."""
    before: list[object] = []

    def same() -> bool:
        now = [tree(home) if home.exists() else None, tree(tmp_path)]
        if not before:
            before.extend(now)
        return before == now

    return same
