"""A store in a folder that an administrator has made for a group (mode 2770)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from flowtoy_dagster.datafiles.places import open_target
from flowtoy_dagster.store.files import make_private_folder, write_whole
from flowtoy_dagster.store.store import open_store


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def file_of_an_output(path: Path) -> None:
    target = open_target(str(path), private=True)
    target.write(b"1")
    target.finish()
    target.commit()


@pytest.fixture
def team(tmp_path: Path) -> Path:
    folder = tmp_path / "team"
    folder.mkdir()
    folder.chmod(0o2770)
    return folder


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_is_made_in_it_is_for_the_group_whatever_the_umask(team: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = open_store(team / "flowtoy-records")
        store.put("run/steps/one", b"1")
        with store.appender("run/items") as file:
            file.write(b"1\n")
        with store.lock("run/token", alone=True):
            pass
        file_of_an_output(store.folder("run/files") / "step" / "table" / "of.csv")
    finally:
        os.umask(before)
    for path in team.rglob("*"):
        assert mode_of(path) == (0o2770 if path.is_dir() else 0o660), path
        assert path.stat().st_gid == team.stat().st_gid


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o770, 0o2775, 0o1777])
def test_in_any_other_folder_it_is_private(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    open_store(folder / "flowtoy-records").put("run/one", b"1")
    assert [mode_of(path) & 0o777 for path in sorted(folder.rglob("*"))] == [0o700, 0o700, 0o600]
    file_of_an_output(folder / "flowtoy-records" / "run" / "table" / "of.csv")
    assert mode_of(folder / "flowtoy-records" / "run" / "table" / "of.csv") == 0o600


def test_homes_and_recordings_in_it_stay_private(team: Path) -> None:
    make_private_folder(team / "home" / "history")
    write_whole(team / "home" / "dagster.yaml", b"")
    assert mode_of(team / "home") & 0o777 == 0o700
    assert mode_of(team / "home" / "history") & 0o777 == 0o700
    assert mode_of(team / "home" / "dagster.yaml") == 0o600
