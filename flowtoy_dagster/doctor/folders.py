"""What can be said of a folder without writing into it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil

_NETWORK = ("nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "glusterfs", "fuse.sshfs")
LEAST_FREE = 64 << 20
"""Bytes of a disk below which it counts as full."""


def first_that_exists(folder: Path) -> Path:
    """A folder, or the nearest one above it that exists."""
    return next(one for one in (folder, *folder.parents) if os.path.lexists(one))


def problem_of(folder: Path) -> tuple[str, str] | None:
    """Why nothing can be written into a folder, and the fix; None where something can."""
    if not folder.is_dir():
        return f"{folder} is not a folder", "remove it, or name another folder"
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        fix = "mount it writable, or name another folder"
        return f"{folder} is on a read-only file system", fix
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return f"{folder} can't be written", f"chown it to uid {os.geteuid()}, and chmod u+rwx"
    if shutil.disk_usage(folder).free < LEAST_FREE:
        fix = "free some space; then `flowtoy runs prune` keeps the home small"
        return f"the disk of {folder} is full", fix
    return None


def free_space(folder: Path) -> str:
    """How much space is free on the disk of a folder."""
    size = float(shutil.disk_usage(folder).free)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit} free"
        size /= 1000
    return f"{size:.3g} TB free"


def is_on_network(folder: Path) -> bool:
    """Whether a folder is on a file system of the network, as far as the system knows."""
    real = folder.resolve()
    mounts = [part for part in psutil.disk_partitions(all=True)
              if real.is_relative_to(part.mountpoint)]
    deepest = max(mounts, key=lambda part: len(part.mountpoint), default=None)
    return deepest is not None and deepest.fstype in _NETWORK
