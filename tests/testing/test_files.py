"""Which files `flowtoy test` takes for tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flowtoy_dagster import ConfigError, UsageError
from flowtoy_dagster.testing.files import CaseReader, find_files


def test_a_test_file_that_is_a_list_leads_to_its_own_keys(tmp_path: Path) -> None:
    (tmp_path / "a.test.yaml").write_text("- name: a\n")
    with pytest.raises(ConfigError, match=r":1:1: the top level .*\n +write 'flow:' and 'tests:'"):
        CaseReader().read(str(tmp_path / "a.test.yaml"))


def test_a_pipe_in_a_folder_is_no_test(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.test.yaml")
    (tmp_path / "b.test.yaml").write_text("")
    assert find_files([str(tmp_path)]) == [str(tmp_path / "b.test.yaml")]


def test_a_folder_without_tests_leads_to_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there are no tests .*\n    flowtoy test --record NAME"):
        find_files([str(tmp_path)])
