"""A store in an object store: each piece is an object below a URL that fsspec knows.

An object is there whole or not at all, and is replaced at once. What an object store has not is
kept on this machine: lines that are appended, until they are uploaded, and folders. The lock of a
store is one of the database that `FLOWTOY_STORAGE` names, or else of this machine.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from typing_extensions import Self

from flowtoy_dagster.datafiles.places import (
    PlaceError,
    file_system,
    is_lasting,
    open_source,
    open_target,
    reason_of,
)
from flowtoy_dagster.masking.mask import STORAGE_VARIABLE
from flowtoy_dagster.store.shared.database_lock import database_lock
from flowtoy_dagster.store.store import FolderStore, Store, check_key

PATIENCE = 30.0
"""Seconds for which an object store that does not answer is waited for."""
PAUSE = 0.5
INTERVAL = 2.0
"""Seconds between two uploads of lines that are appended."""
_SHARE = 10
"""An upload that takes long is not made more often than so many times its length."""
_CHUNK = 1 << 20
_SMALL = 5 << 20
_LOG = logging.getLogger("flowtoy.store")
_T = TypeVar("_T")


class ObjectStore(Store):
    """A store below a URL.

    Args:
        url: such as `s3://bucket/prefix`.
        local: what belongs to the store on this machine.
    """

    def __init__(self, url: str, local: FolderStore) -> None:
        self._url = url
        self._local = local
        self._appended: dict[str, _UploadedLines] = {}
        # A step's environment does not have it.
        self._database = os.environ.get(STORAGE_VARIABLE)

    @property
    def url(self) -> str:  # noqa: D102 - see Store
        return self._url

    @contextlib.contextmanager
    def writer(self, key: str) -> Iterator[BinaryIO]:  # noqa: D102 - see Store
        place = self.place(key)
        with tempfile.TemporaryFile() as file:
            yield cast(BinaryIO, file)
            steadily(lambda: _upload(cast(BinaryIO, file), place))

    def appender(self, key: str) -> BinaryIO:  # noqa: D102 - see Store
        place = self.place(key)
        # What another machine has appended before comes first, unless all of it is here, with what
        # a process of this machine could not upload before it was killed.
        with contextlib.suppress(FileNotFoundError), ExitStack() as stack:
            before = stack.enter_context(self.open(key))
            if not self._is_here(key, before):
                before.seek(0)
                shutil.copyfileobj(before, stack.enter_context(self._local.writer(key)), _CHUNK)
        lines = _UploadedLines(
            self._local.appender(key), lambda: self._upload_lines(key, place),
            lambda: self._forget_lines(key),
        )
        self._appended[key] = lines
        return cast(BinaryIO, lines)

    def folder(self, key: str) -> Path:  # noqa: D102 - see Store
        return self._local.folder(key)

    def open(self, key: str) -> BinaryIO:  # noqa: D102 - see Store
        if key in self._appended:
            return self._local.open(key)
        place = self.place(key)
        return steadily(lambda: open_source(place))

    def exists(self, key: str) -> bool:  # noqa: D102 - see Store
        system, name = file_system(self.place(key))
        return bool(steadily(lambda: system.isfile(name)))

    def delete(self, key: str) -> None:  # noqa: D102 - see Store
        system, name = file_system(self.place(key))

        def remove() -> None:
            with contextlib.suppress(FileNotFoundError):
                system.rm(name, recursive=True)

        steadily(remove)
        self._local.delete(key)

    def list(self, prefix: str | None = None) -> Iterator[str]:  # noqa: D102 - see Store
        system, top = file_system(self.url)
        name = top if prefix is None else f"{top}/{check_key(prefix)}"
        for path in steadily(lambda: _find(system, name)):
            yield path.lstrip("/").removeprefix(f"{top.lstrip('/')}/")

    @contextlib.contextmanager
    def lock(  # noqa: D102 - see Store
        self, key: str | None = None, *, alone: bool
    ) -> Iterator[None]:
        name = self.url if key is None else self.place(key)
        with ExitStack() as stack:
            stack.enter_context(self._local.lock(key, alone=alone))
            stack.enter_context(database_lock(self._database, name, alone=alone))
            yield

    def clean(self) -> int:  # noqa: D102 - see Store
        return self._local.clean()

    def place(self, key: str) -> str:
        """The URL of a piece."""
        return f"{self.url}/{check_key(key)}"

    def kept_at(self, key: str) -> str | None:  # noqa: D102 - see Store
        return self.place(key)

    def _is_here(self, key: str, uploaded: BinaryIO) -> bool:
        """Whether what is on this machine begins with all that was uploaded."""
        try:
            with self._local.open(key) as file:
                while chunk := uploaded.read(_CHUNK):
                    if file.read(len(chunk)) != chunk:
                        return False
        except FileNotFoundError:
            return False
        return True

    def _upload_lines(self, key: str, place: str) -> None:
        with self._local.open(key) as file:
            steadily(lambda: _upload(file, place))

    def _forget_lines(self, key: str) -> None:
        del self._appended[key]
        self._local.delete(key)


class _UploadedLines:
    """Lines of this machine that are uploaded while they are appended, and at the end.

    Args:
        file: to append to.
        upload: uploads all that is there.
        forget: removes what is on this machine.
    """

    def __init__(
        self, file: BinaryIO, upload: Callable[[], None], forget: Callable[[], None]
    ) -> None:
        self._file = file
        self._upload = upload
        self._forget = forget
        self._pause = INTERVAL
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._is_closed = False
        self._error: Exception | None = None

    def write(self, data: bytes) -> int:
        """Append data; how many bytes of it were. It is uploaded soon, whether more comes or not.

        Raises:
            OSError: what was written before could not be uploaded.
        """
        error, self._error = self._error, None
        if error is not None:
            raise error
        count = self._file.write(data)
        if self._timer is None:
            self._timer = threading.Timer(self._pause, self._upload_all)
            self._timer.daemon = True
            self._timer.start()
        return count

    def _upload_all(self) -> None:
        """Upload what is there; in a thread of its own."""
        # What is written from now on needs another one.
        self._timer = None
        with self._lock:
            if self._is_closed:
                return
            began = time.monotonic()
            try:
                self._upload()
            except Exception as error:  # noqa: BLE001 - who writes next learns of it
                self._error = error
            self._pause = max(INTERVAL, _SHARE * (time.monotonic() - began))

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place; writing appends all the same."""
        return self._file.seek(offset, whence)

    def fileno(self) -> int:
        """The descriptor of the file on this machine."""
        return self._file.fileno()

    def close(self) -> None:
        """Upload all of it, and forget what is on this machine."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            if self._timer is not None:
                self._timer.cancel()
            self._file.close()
            self._upload()
            self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _upload(file: BinaryIO, place: str) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size <= _SMALL:
        # One request, where an upload in parts takes three.
        system, name = file_system(place)
        system.pipe_file(name, file.read())
        return
    target = open_target(place)
    try:
        while chunk := file.read(_CHUNK):
            target.write(chunk)
        target.finish()
        target.commit()
    except BaseException:
        with contextlib.suppress(Exception):
            target.discard()
        raise


def _find(system: object, name: str) -> list[str]:
    try:
        return list(system.find(name))  # type: ignore[attr-defined] # fsspec has no types
    except FileNotFoundError:
        return []


def steadily(call: Callable[[], _T], patience: float | None = None) -> _T:
    """What a call gives, tried again while the object store does not answer.

    Args:
        call: asks the store.
        patience: seconds to go on for; by default `PATIENCE`, none with 0.

    Raises:
        OSError: it says no, or does not answer for longer than the patience.
    """
    give_up_at: float | None = None
    while True:
        try:
            return call()
        except PlaceError as error:
            raise OSError(str(error)) from None
        except Exception as error:
            if is_lasting(error):
                raise _as_os_error(error) from None
            reason = " ".join(f"{error}".split()) or type(error).__name__
            now = time.monotonic()
            if give_up_at is None:
                give_up_at = now + (PATIENCE if patience is None else patience)
                if now < give_up_at:
                    _LOG.warning("waiting for the store of files: %s", reason)
            if now >= give_up_at:
                raise OSError(f"the store of files does not answer: {reason}") from error
        time.sleep(PAUSE)


def _as_os_error(error: Exception) -> OSError:
    """An error that lasts; one without words gets some."""
    if isinstance(error, FileNotFoundError):
        return error if error.strerror else FileNotFoundError(errno.ENOENT, reason_of(error))
    if isinstance(error, PermissionError):
        return error
    return PermissionError(errno.EACCES, reason_of(error))
