"""Who may read what flowtoy writes for itself: its user, or the group that a folder is for."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from flowtoy_dagster.datafiles.part_file import sync_folder
from flowtoy_dagster.datafiles.regular import open_regular

PRIVATE = 0o600
PRIVATE_FOLDER = 0o700
GROUP = 0o660
GROUP_FOLDER = 0o2770
_PATIENCE = 2.0
"""Seconds in which another user has given what it has just made to the group."""
_PAUSE = 0.01
_Made = TypeVar("_Made")


def is_for_group(folder: Path) -> bool:
    """Whether a folder has the mode 2770: what is made in it is for its group, too.

    Raises:
        OSError: it is not there, or can't be looked at.
    """
    return stat.S_IMODE(folder.stat().st_mode) == GROUP_FOLDER


def mode_in(folder: Path) -> int:
    """The mode of files in a folder.

    Raises:
        OSError: it is not there, or can't be looked at.
    """
    return GROUP if is_for_group(folder) else PRIVATE


def open_in_mode(path: Path, flags: int) -> int:
    """Open a file, which is made where there is none; gives its descriptor.

    Args:
        path: the file; its folder must exist.
        flags: as `os.open` takes them.

    Raises:
        OSError: it can't be opened, or is no file.
    """
    mode = mode_in(path.parent)
    if mode == PRIVATE:
        return open_regular(path, flags | os.O_CREAT, mode)
    descriptor = patiently(lambda: open_regular(path, flags | os.O_CREAT, mode))
    # The umask may have taken away what the group needs; of another's file, that user sees to it.
    with contextlib.suppress(PermissionError):
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
            os.fchmod(descriptor, mode)
    return descriptor


def patiently(act: Callable[[], _Made]) -> _Made:
    """Do something in a group's folder, where another user may just be making the same.

    Raises:
        OSError: it can't be done.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return act()
        except PermissionError:  # noqa: PERF203 - that is what it waits for
            if time.monotonic() > until:
                raise
            time.sleep(_PAUSE)


def make_own_folder(folder: Path) -> None:
    """Make a folder, and those above it: for the group that the one above is for, or private.

    Raises:
        OSError: it can't be made.
    """
    if folder.is_dir():
        return  # as nearly always
    if not folder.parent.exists():
        make_own_folder(folder.parent)
    if is_for_group(folder.parent):
        patiently(lambda: make_folder(folder, GROUP_FOLDER))
    else:
        make_folder(folder, PRIVATE_FOLDER)


def make_folder(folder: Path, mode: int) -> None:
    """Make a folder with a mode, whatever the umask; one that is there stays as it is.

    Raises:
        OSError: it can't be made.
    """
    try:
        folder.mkdir(mode=mode)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return
    folder.chmod(mode)  # the umask may have taken away more
    sync_folder(folder.parent)
