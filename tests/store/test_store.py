"""The store: pieces by key, each whole or absent."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.datafiles import part_file
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.store.store import FolderStore, Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def everything(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_what_is_put_is_there_until_it_is_deleted(store: Store) -> None:
    assert not store.exists("a")
    assert list(store.list()) == []
    store.put("a", b"1")
    store.put("b/c", iter([b"2", b"3"]))
    store.put("b/d e", b"")
    assert sorted(store.list()) == ["a", "b/c", "b/d e"]
    assert sorted(store.list("b")) == ["b/c", "b/d e"]
    assert store.read("b/c") == b"23"
    store.put("a", b"4")
    assert store.read("a") == b"4"
    store.delete("b")
    store.delete("a")
    store.delete("a")
    assert list(store.list()) == []
    for key in ("a", "b/c", "a/b"):
        with pytest.raises(FileNotFoundError):
            store.open(key)


@pytest.mark.parametrize(
    "key", ["", "/", "/etc/passwd", "..", "../x", "a/../../x", "a//b", "./a", ".a", "a/", "a\0",
            "a\n", "~root/../x", "é", "a" * 300]
)
def test_a_key_never_leaves_the_store(key: str, store: Store, tmp_path: Path) -> None:
    uses: list[Callable[[], Any]] = [
        lambda: store.put(key, b"x"), lambda: store.open(key), lambda: store.exists(key),
        lambda: store.delete(key), lambda: list(store.list(key)),
    ]
    for use in uses:
        with pytest.raises(ValueError, match="is not a key of a store"):
            use()
    assert everything(tmp_path) == []


def test_files_and_folders_are_the_owners_alone_whatever_the_umask(
    store: Store, tmp_path: Path
) -> None:
    for umask in (0, 0o277):
        mask = os.umask(umask)
        try:
            store.put(f"{umask}/b/c", b"x")
        finally:
            os.umask(mask)
        path = tmp_path / "store" / str(umask) / "b" / "c"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


def test_a_write_that_fails_leaves_what_was_there(store: Store, tmp_path: Path) -> None:
    def broken() -> Any:
        yield b"new"
        raise RuntimeError

    store.put("a", b"old")
    with pytest.raises(RuntimeError):
        store.put("a", broken())
    assert store.read("a") == b"old"
    assert everything(tmp_path) == ["store/a"]


def test_a_piece_is_flushed_before_it_has_its_name_and_its_name_after(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A power cut can't be made here, so the order of the system calls stands for it.
    store.put("f/a", b"")
    calls: list[str] = []

    def note(name: str, real: Callable[..., Any], what: Callable[..., str]) -> None:
        def noted(*arguments: Any) -> Any:
            calls.append(f"{name} {what(*arguments)}")
            return real(*arguments)

        monkeypatch.setattr(part_file.os, name, noted)

    def kind(descriptor: int) -> str:
        opened = os.readlink(f"/proc/self/fd/{descriptor}")
        size = os.fstat(descriptor).st_size
        return "folder" if os.path.isdir(opened) else f"{size} bytes"

    note("fsync", os.fsync, kind)
    note("replace", os.replace, lambda old, new: Path(new).name)
    store.put("f/b", [b"12", b"345"])
    assert calls == ["fsync 5 bytes", "replace b", "fsync folder"]
    calls.clear()
    store.put("g/b", b"")  # the folder's own name is flushed as well
    assert calls == ["fsync folder", "fsync 0 bytes", "replace b", "fsync folder"]


def test_an_error_of_the_disk_while_flushing_is_an_error(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    store.put("a", b"old")
    monkeypatch.setattr(part_file.os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        store.put("a", b"new")
    assert store.read("a") == b"old"
    assert everything(tmp_path) == ["store/a"]


def test_what_a_killed_writer_left_is_no_piece_and_is_cleaned_away(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import os, sys\n"
        "from flowtoy_dagster.store.store import open_store\n"
        "with open_store(sys.argv[1]).writer('f/a') as file:\n"
        "    file.write(b'half'); file.flush()\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "store")])
    assert done.returncode == -signal.SIGKILL
    (left,) = everything(tmp_path)
    assert left.endswith(".part")
    assert list(store.list()) == []
    assert store.clean() == 0, "a writer may be about to lock a file that is this young"
    monkeypatch.setattr(part_file, "YOUNG", 0)
    with store.writer("f/b") as file:
        assert store.clean() == 1
        file.write(b"a living writer's file stays")
    assert everything(tmp_path) == ["store/f/b"]


def test_a_store_is_found_by_its_url(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    made = open_store(folder)
    made.put("a", b"1")
    assert made.url.startswith("file:///")
    assert made.url.endswith("/a%20b")
    for url in (made.url, str(folder)):
        found = open_store(url)
        assert isinstance(found, FolderStore)
        assert found.read("a") == b"1"
    for url in ("s3://bucket/x", "file://elsewhere/x"):
        with pytest.raises(UsageError, match="is not supported"):
            open_store(url)
