"""Writing a file so that it is whole or absent, whatever ends the process or the machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from flowtoy_dagster.datafiles.modes import (
    PRIVATE,
    PRIVATE_FOLDER,
    make_folder,
    open_in_mode,
)
from flowtoy_dagster.datafiles.part_file import PART_SUFFIX, PartFile, is_abandoned


@contextlib.contextmanager
def whole_file(path: Path, mode: int = PRIVATE) -> Iterator[BinaryIO]:
    """A new file, put in its place when the block ends; nothing changes if the block raises.

    The data goes to a temporary file in the same folder. That file is flushed to the disk,
    renamed, and the folder is flushed, so that a power cut leaves the old file or the new one.

    Args:
        path: where the file is to be. The folder must exist.
        mode: its permissions, whatever the umask.

    Raises:
        OSError: it can't be written.
    """
    part = PartFile(path, mode)
    try:
        yield part.file
        part.finish()
        part.commit()
    except BaseException:
        part.discard()
        raise


def write_whole(path: Path, data: bytes | Iterable[bytes], mode: int = PRIVATE) -> None:
    """Write a file whole or not at all; see `whole_file`.

    Raises:
        OSError: it can't be written.
    """
    with whole_file(path, mode) as file:
        if isinstance(data, bytes):
            file.write(data)
        else:
            file.writelines(data)


def line_file(path: Path) -> BinaryIO:
    """A file to append lines to, each of which is there when it is written.

    A line that a killed writer has begun is ended first.

    Args:
        path: where the file is or is to be. The folder must exist.

    Raises:
        OSError: it can't be written.
    """
    descriptor = open_in_mode(path, os.O_RDWR | os.O_APPEND)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")
        return open(descriptor, "ab", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


@contextlib.contextmanager
def locked_file(path: Path, *, alone: bool) -> Iterator[BinaryIO]:
    """Hold a lock on a file while the block runs; it is made where there is none.

    The lock is the block's, not the process's: it holds between threads too. It ends with the
    process, however that ends.

    Args:
        path: the file; its folder must exist.
        alone: whether nobody else may hold it; otherwise all who don't want it alone may.

    Yields:
        the file, open for reading; by its descriptor it can be written, too.

    Raises:
        OSError: the file can't be opened.
    """
    with open(open_in_mode(path, os.O_RDWR), "rb") as file:
        # Some file systems have no locks.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        try:
            yield file
        finally:
            # Closing would not do for a process that was forked meanwhile.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it, durable and for its owner alone.

    Raises:
        OSError: it can't be made.
    """
    # Not by `parents`: that gives the folders above the umask's mode.
    if not folder.parent.exists():
        make_private_folder(folder.parent)
    make_folder(folder, PRIVATE_FOLDER)


def remove_any(path: Path) -> None:
    """Remove what is at a path, whatever it is; nothing happens where there is nothing.

    Raises:
        OSError: it can't be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_parts(folder: Path) -> int:
    """Remove the temporary files that killed writers left in a folder and below it.

    Returns:
        how many there were.
    """
    removed = 0
    for path in folder.rglob(f".*{PART_SUFFIX}"):
        with contextlib.suppress(OSError):
            if path.is_file() and is_abandoned(path):
                path.unlink()
                removed += 1
    return removed


@contextlib.contextmanager
def opened_folder(folder: Path) -> Iterator[int]:
    """A descriptor of a folder, which stays that folder's whatever is at its path later."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_still(folder: Path, descriptor: int) -> bool:
    """Whether a folder is the one that was opened."""
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except OSError:
        return False
