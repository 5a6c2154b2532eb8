"""Something else than a file where a file of the home should be: an error, and no waiting."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from flowtoy_dagster.store.files import locked_file
from flowtoy_dagster.store.store import FolderStore


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


ODD = {
    "folder": (Path.mkdir, "it is a folder"),
    "fifo": (os.mkfifo, "it is no regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "it is no regular file"),
    "itself": (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    "socket": (listen, "o such device"),
}


@pytest.fixture(params=ODD)
def odd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes `s/piece` odd; gives what is said of it."""
    (tmp_path / "s").mkdir(0o700)
    monkeypatch.chdir(tmp_path / "s")  # the name of a socket must be short
    make, told = ODD[request.param]
    make(Path("piece"))
    return told


def reading(store: FolderStore) -> None:
    store.read("piece")


def appending(store: FolderStore) -> None:
    store.appender("piece").close()


@pytest.mark.parametrize("act", [reading, appending])
def test_a_piece_that_is_no_file_is_an_error(
    act: Callable[[FolderStore], None], odd: str, tmp_path: Path
) -> None:
    store = FolderStore(tmp_path / "s")
    with pytest.raises(OSError) as raised:  # noqa: PT011 - its text is looked at below
        act(store)
    assert not isinstance(raised.value, FileNotFoundError)
    # The system itself refuses to write to a folder.
    assert odd in str(raised.value) or "Is a directory" in str(raised.value)
    assert store.exists("piece")


def test_what_is_no_file_can_be_no_lock(odd: str, tmp_path: Path) -> None:
    said = f"{odd}|Is a directory"
    with (
        pytest.raises(OSError, match=said),
        locked_file(tmp_path / "s" / "piece", alone=True),
    ):
        """Not reached."""


def test_what_is_no_file_is_deleted(odd: str, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "s")
    store.delete("piece")
    assert not store.exists("piece")


def test_what_is_no_folder_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "fifo")
    (tmp_path / "a" / "itself").symlink_to("itself")
    assert sorted(FolderStore(tmp_path).list()) == ["a/fifo", "a/itself"]
