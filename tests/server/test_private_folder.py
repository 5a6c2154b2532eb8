"""The folder of a server's sockets."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from flowtoy_dagster.server.http.private_folder import private_folder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go in this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_for_its_owner_alone_and_gone_at_the_end(place: Path) -> None:
    mask = os.umask(0)
    try:
        with private_folder("test") as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            (folder / "socket").touch()
            assert folder.parent == place
    finally:
        os.umask(mask)
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_is_used_stays(place: Path) -> None:
    pid = os.fork()
    if not pid:
        with private_folder("test") as left:
            (left / "socket").touch()
            os._exit(0)  # as SIGKILL does: without an end of the block
    os.waitpid(pid, 0)
    assert len(list(place.iterdir())) == 1
    foreign = place / f"flowtoy-test-{os.geteuid()}-link"
    foreign.symlink_to(place)
    with private_folder("test") as used, private_folder("test") as also:
        assert {used, also, foreign} == set(place.iterdir())
