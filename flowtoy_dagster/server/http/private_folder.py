"""Folders for sockets: short paths, for one user alone, and gone when their process is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_LOCK = "lock"


@contextlib.contextmanager
def private_folder(purpose: str) -> Iterator[Path]:
    """A folder of the mode 0700, removed at the end of the block.

    What processes that were killed have left behind is removed first. Each holds a lock in its
    folder: unlike a process id, that means the same in every container that shares the folder.

    Args:
        purpose: a word of the folder's name.
    """
    prefix = f"flowtoy-{purpose}-{os.geteuid()}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        if _is_left_behind(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        with open(folder / _LOCK, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_left_behind(folder: Path) -> bool:
    """Whether the folder is ours, and nobody holds its lock any more."""
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            return False
        with open(folder / _LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False  # somebody uses it, or is making it at this moment
    return True
