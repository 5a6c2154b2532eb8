"""Opening a file that must be one: a FIFO would be waited for, and a device has no end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path, flags: int, mode: int = 0o600) -> int:
    """Open a file, without waiting for anybody; gives its descriptor.

    Args:
        path: the file.
        flags: as `os.open` takes them.
        mode: its permissions, where it is made.

    Raises:
        IsADirectoryError: it is a folder.
        OSError: it can't be opened, or is no file.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK, mode)
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        if not stat.S_ISREG(kind):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: Path) -> BinaryIO:
    """A file, to be read from the start; raises as `open_regular` does."""
    return open(open_regular(path, os.O_RDONLY), "rb")
