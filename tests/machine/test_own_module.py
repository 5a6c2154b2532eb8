"""Modules of the package as processes, in folders of users."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flowtoy_dagster.machine.own_module import module_command

NAMES = ("runpy", "types", "queue", "calendar", "json", "yaml", "dagster", "flowtoy_dagster")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a user, whose modules have the names of others."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('the {name} of the user')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_in_the_working_folder_take_no_modules_place(folder: Path) -> None:
    command = module_command("flowtoy_dagster", "--version")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "flowtoy-dagster" in done.stdout


def test_a_module_is_the_main_one_and_sees_its_arguments(folder: Path) -> None:
    command = module_command("timeit", "-n", "1", "-r", "1", "print('called')")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("called\n1 loop"), done.stderr
