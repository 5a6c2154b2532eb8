"""Which files `flowtoy test` takes for tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowtoy_dagster import UsageError
from flowtoy_dagster.testing.files import find_files


def test_a_folder_without_tests_leads_to_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there are no tests .*\n    flowtoy test --record NAME"):
        find_files([str(tmp_path)])
