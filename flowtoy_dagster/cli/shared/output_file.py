"""A file that the user names for the outputs: written whole where it can be, else in place.

A regular file, or one that is not there yet, is written under another name and renamed, so that it
is whole or not there. A device, a FIFO, or a descriptor that the shell has opened, such as that of
`>(…)`, is written into. Links are followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from flowtoy_dagster.datafiles.part_file import keep_mode, move, sync_folder
from flowtoy_dagster.errors import RunError, UsageError, system_reason

_OF_A_THREAD = re.compile(r"/task/\d+(?=/fd$)")
_MOST_LINKS = 40


class OutputFile:
    """Where outputs are written to; checked when it is made, before a run that may be long.

    Args:
        path: the path as the user wrote it.
        stdout: the descriptor that stdout was when the command started.

    Raises:
        UsageError: it can't be written.
    """

    def __init__(self, path: Path, stdout: int) -> None:
        self._path = path
        self._open: int | None = None
        try:
            self._target = self._check(stdout)
        except OSError as error:
            raise UsageError(f"can't write '{path}': {_reason(error)}") from None

    def _check(self, stdout: int) -> Path:
        """The file to write, links followed; opens what is not to be replaced."""
        number = _own_descriptor(self._path)
        if number is not None:
            self._open = os.dup(stdout if number == 1 else number)
            return self._path
        target = Path(os.path.realpath(self._path))
        try:
            mode = target.stat().st_mode
        except FileNotFoundError:
            if not target.parent.is_dir():
                raise UsageError(
                    f"can't write '{self._path}': there is no folder {target.parent}"
                ) from None
        else:
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            if not os.access(target, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            if not stat.S_ISREG(mode):
                self._open = _opened(target, mode)
                return target
        descriptor, beside = _beside(target)
        os.close(descriptor)
        os.unlink(beside)
        return target

    def write(self, parts: Iterable[bytes]) -> None:
        """Write the outputs.

        Raises:
            RunError: they can't be written; the run is not undone by that.
        """
        try:
            if self._open is None:  # a link may have been made since the run began
                self._target = Path(os.path.realpath(self._target))
            if self._is_special():
                self._write_into(parts)
            else:
                self._replace(parts)
        except OSError as error:
            raise RunError(
                f"can't write '{self._path}': {_reason(error)}\n"
                "    the run has ended; flowtoy runs outputs prints its outputs"
            ) from None

    def _is_special(self) -> bool:
        if self._open is not None:
            return True
        with contextlib.suppress(FileNotFoundError):
            return not stat.S_ISREG(self._target.stat().st_mode)
        return False

    def _write_into(self, parts: Iterable[bytes]) -> None:
        descriptor = self._open
        if descriptor is None:  # a FIFO: waits for its reader, as a shell does
            descriptor = os.open(self._target, os.O_WRONLY)
        self._open = None
        with open(descriptor, "wb") as file:
            file.writelines(parts)
            file.flush()
            with contextlib.suppress(OSError):  # pipes and terminals have no disk
                os.fsync(descriptor)

    def _replace(self, parts: Iterable[bytes]) -> None:
        descriptor, beside = _beside(self._target)
        try:
            with open(descriptor, "wb") as file:
                file.writelines(parts)
                file.flush()
                keep_mode(self._target, descriptor)
                os.fsync(descriptor)
            move(beside, self._target)
            sync_folder(self._target.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise


def _own_descriptor(path: Path) -> int | None:
    """The descriptor of this process that a path stands for, such as `/dev/stdout`."""
    current, ours = os.path.abspath(path), os.path.realpath("/dev/fd")
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(current)
        folder = _OF_A_THREAD.sub("", os.path.realpath(folder))
        if name.isdigit() and folder == ours:
            return int(name)
        try:
            current = os.path.join(folder, os.readlink(os.path.join(folder, name)))
        except OSError:
            return None
    return None


def _opened(target: Path, mode: int) -> int | None:
    """A device or FIFO, opened; None for a FIFO that nobody reads yet."""
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ENXIO and stat.S_ISFIFO(mode):
            return None
        raise
    os.set_blocking(descriptor, True)
    return descriptor


def _beside(target: Path) -> tuple[int, str]:
    """A new file in the target's folder, and its path.

    It is its owner's alone where the target's mode will be set; else it has that of new files.
    """
    path = str(target.parent / f".flowtoy-{secrets.token_hex(8)}")
    mode = 0o600 if target.exists() else 0o666
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), path


def _reason(error: OSError) -> str:
    return system_reason(error)
