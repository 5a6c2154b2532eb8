"""A store: named pieces of data, each whole or absent.

Callers name a piece by a key, never by a path, so that a store need not be a folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from flowtoy_dagster.datafiles.modes import (
    PRIVATE,
    PRIVATE_FOLDER,
    make_own_folder,
    mode_in,
)
from flowtoy_dagster.datafiles.regular import read_regular
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.store.files import (
    line_file,
    locked_file,
    remove_parts,
    whole_file,
)

_SEGMENT = re.compile(r"[A-Za-z0-9_%~=+@-][A-Za-z0-9_%~=+@. -]{0,199}")
_LOCK = ".lock"
LONGEST_NAME = 120
"""Characters of a name that is a segment of a key; a longer one is hashed."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def check_key(key: str) -> str:
    """A key that names something inside a store: segments with `/` between them.

    Raises:
        ValueError: it is not well-formed; a path, for example.
    """
    if not all(_SEGMENT.fullmatch(segment) for segment in key.split("/")):
        raise ValueError(f"{key!r} is not a key of a store")
    return key


class Store(ABC):
    """Pieces of data by key."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where the store is."""

    @abstractmethod
    def writer(self, key: str) -> AbstractContextManager[BinaryIO]:
        """A file to write a piece to, which appears, whole and durable, when the block ends.

        A block that raises leaves what was there before.

        Raises:
            OSError: it can't be written.
        """

    @abstractmethod
    def appender(self, key: str) -> BinaryIO:
        """A file to append lines to a piece with; each is there when it is written.

        Such a piece is neither whole nor absent: its writer may be killed in the midst of a line.
        What was cut so is ended, so that the next line is a line by itself.

        Raises:
            OSError: it can't be written.
        """

    @abstractmethod
    def folder(self, key: str) -> Path:
        """A folder of this machine for files below a key, which is made; `delete` removes it.

        Raises:
            OSError: it can't be made.
        """

    def kept_at(self, key: str) -> str | None:
        """The URL below which files are kept that others must see; None for `folder`'s own."""
        return None

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """The piece, to be read from the start.

        Raises:
            FileNotFoundError: there is none.
            OSError: it can't be read.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete a piece, or all pieces below a key; nothing happens if there is none."""

    @abstractmethod
    def list(self, prefix: str | None = None) -> Iterator[str]:
        """The keys of all pieces, or of those below a key, in no order."""

    @abstractmethod
    def lock(self, key: str | None = None, *, alone: bool) -> AbstractContextManager[None]:
        """Hold the store's lock, or that of one piece, while a block runs; with others or alone.

        It binds those who ask for it, in whatever thread or process, and nobody else.

        Raises:
            OSError: it is not available.
        """

    @abstractmethod
    def clean(self) -> int:
        """Remove what writers that were killed left behind; how many pieces that were."""

    def put(self, key: str, data: bytes | Iterable[bytes]) -> None:
        """Write a piece, whole and durable or not at all.

        Args:
            key: its name.
            data: its bytes, or their parts, which are written as they come.

        Raises:
            OSError: it can't be written.
        """
        with self.writer(key) as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                file.writelines(data)

    def read(self, key: str) -> bytes:
        """All bytes of a piece; raises as `open` does."""
        with self.open(key) as file:
            return file.read()

    def exists(self, key: str) -> bool:
        """Whether there is such a piece, also one that can't be read."""
        try:
            self.open(key).close()
        except FileNotFoundError:
            return False
        return True


class FolderStore(Store):
    """A store in a folder of this machine; files are 0600 and folders 0700.

    In a folder that is for a group (mode 2770), files are 0660 and folders 2770.

    Args:
        folder: made when something is put into it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def url(self) -> str:  # noqa: D102 - see Store
        return self._folder.absolute().as_uri()

    def writer(self, key: str) -> AbstractContextManager[BinaryIO]:  # noqa: D102 - see Store
        path = self._path(key)
        make_own_folder(path.parent)
        mode = mode_in(path.parent)
        if mode == PRIVATE and path.parent.stat().st_mode & 0o077:
            path.parent.chmod(PRIVATE_FOLDER)
        return whole_file(path, mode)

    def appender(self, key: str) -> BinaryIO:  # noqa: D102 - see Store
        path = self._path(key)
        make_own_folder(path.parent)
        return line_file(path)

    def folder(self, key: str) -> Path:  # noqa: D102 - see Store
        path = self._path(key)
        make_own_folder(path)
        return path

    def open(self, key: str) -> BinaryIO:  # noqa: D102 - see Store
        try:
            return read_regular(self._path(key))
        except NotADirectoryError as error:
            raise FileNotFoundError(*error.args) from None

    def exists(self, key: str) -> bool:  # noqa: D102 - see Store
        return os.path.lexists(self._path(key))

    def delete(self, key: str) -> None:  # noqa: D102 - see Store
        path = self._path(key)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            for one in (path, self._lock_of(key)):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    one.unlink()

    def list(self, prefix: str | None = None) -> Iterator[str]:  # noqa: D102 - see Store
        start = self._folder if prefix is None else self._path(prefix)
        for path in start.rglob("*"):
            # No key begins so: it is the lock, or a file that is being written.
            # What is no folder is a piece, also one that can't be read.
            if not path.name.startswith(".") and not path.is_dir():
                yield path.relative_to(self._folder).as_posix()

    @contextlib.contextmanager
    def lock(  # noqa: D102 - see Store
        self, key: str | None = None, *, alone: bool
    ) -> Iterator[None]:
        path = self._folder / _LOCK if key is None else self._lock_of(key)
        make_own_folder(path.parent)
        with locked_file(path, alone=alone):
            yield

    def clean(self) -> int:  # noqa: D102 - see Store
        return remove_parts(self._folder)

    def _path(self, key: str) -> Path:
        return self._folder / check_key(key)

    def _lock_of(self, key: str) -> Path:
        path = self._path(key)
        return path.with_name(f".{path.name}{_LOCK}")


def quoted(text: str) -> str:
    """A text as a segment of a key.

    It has no full stop: Dagster's web server serves `logs/<folders>/<name>.<kind>` of whatever
    folder a deployment sets for logs, for any kind, and can't reach a file without one.
    """
    name = urllib.parse.quote(text, safe="").replace(".", "%2E").replace("%20", " ")
    if not name or len(name) > LONGEST_NAME or name.startswith(" "):
        name = hashlib.sha256(text.encode()).hexdigest()
    return name


def open_store(url: str | Path) -> Store:
    """The store at a URL or in a folder.

    Raises:
        UsageError: no store of that kind is known.
    """
    if isinstance(url, Path):
        return FolderStore(url)
    scheme = _SCHEME.match(url)
    if scheme is None:
        return FolderStore(Path(url))
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return FolderStore(Path(urllib.parse.unquote(parts.path)))
    raise UsageError(
        f"a store at '{scheme[0]}…' is not supported\n    use a folder: file:///path, or its path"
    )
