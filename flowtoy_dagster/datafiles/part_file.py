"""A file that is written next to its place, and moved there when it is complete."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import secrets
import shutil
import stat
import time
from pathlib import Path

PART_SUFFIX = ".part"
YOUNG = 60.0
"""Seconds for which a temporary file is left alone: its writer may not have locked it yet."""
_LONGEST_HINT = 40
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)


class PartFile:
    """A new file under a temporary name in the folder of its place.

    It is locked as long as its writer lives: so `remove_abandoned` knows what a killed writer left.

    Args:
        path: where the file is to be. The folder must exist.
        mode: its permissions, whatever the umask; None for those of the file that it replaces, or
            those of new files.

    Raises:
        OSError: it can't be written.
    """

    def __init__(self, path: Path, mode: int | None) -> None:
        self._path = path
        self._mode = mode
        name = f".{path.name[:_LONGEST_HINT]}.{secrets.token_hex(6)}{PART_SUFFIX}"
        self._part = str(path.parent / name)
        # What replaces a file is its owner's alone until it has that file's mode.
        first = 0o666 if mode is None and not path.exists() else 0o600
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(self._part, flags, first)
        try:
            with contextlib.suppress(OSError):  # some file systems have no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if mode is not None:
                os.fchmod(descriptor, mode)
            self.file = open(descriptor, "wb")  # noqa: SIM115 - `commit` and `discard` close it
        except BaseException:
            os.close(descriptor)
            os.unlink(self._part)
            raise

    def finish(self) -> None:
        """Flush it to the disk.

        Raises:
            OSError: the disk reports an error.
        """
        self.file.flush()
        if self._mode is None:
            keep_mode(self._path, self.file.fileno())
        os.fsync(self.file.fileno())

    def commit(self) -> None:
        """Put it in its place.

        Raises:
            OSError: it can't be put there.
        """
        move(self._part, self._path)
        self.file.close()
        sync_folder(self._path.parent)

    def discard(self) -> None:
        """Remove it; nothing has changed."""
        with contextlib.suppress(OSError):
            os.unlink(self._part)
        with contextlib.suppress(OSError, ValueError):
            self.file.close()


def keep_mode(target: Path, descriptor: int) -> None:
    """Give a file the owner and the mode of the one that it will replace.

    Raises:
        OSError: it can't have that mode.
    """
    try:
        before = target.stat()
    except FileNotFoundError:
        return
    with contextlib.suppress(PermissionError):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def move(part: str, target: Path) -> None:
    """Put a file in the place of another.

    Raises:
        OSError: it can't be put there.
    """
    try:
        os.replace(part, target)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # A mount point, such as a single file that a container was given: only its content changes.
        with open(part, "rb") as source, open(target, "wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
        os.unlink(part)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, where its file system can.

    Raises:
        OSError: the disk reports an error.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def remove_abandoned(path: Path) -> None:
    """Remove what killed writers of a file have left next to it."""
    name = glob.escape(f".{path.name[:_LONGEST_HINT]}.")
    for left in path.parent.glob(f"{name}*{PART_SUFFIX}"):
        with contextlib.suppress(OSError):
            if is_abandoned(left):
                left.unlink()


def is_abandoned(path: Path) -> bool:
    """Whether a temporary file has no writer any more.

    Raises:
        OSError: it can't be looked at.
    """
    if not stat.S_ISREG(path.lstat().st_mode) or abs(time.time() - path.stat().st_mtime) < YOUNG:
        return False
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
