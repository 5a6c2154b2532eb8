"""Where files are: a path of this machine, or a URL that fsspec knows (language 20.3)."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import secrets
import stat
import tempfile
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

from flowtoy_dagster.datafiles.modes import make_own_folder, mode_in
from flowtoy_dagster.datafiles.part_file import PartFile, remove_abandoned
from flowtoy_dagster.machine.working_directory import DELETED, absolute

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOME = re.compile(r"~(?:/|$)|~[A-Za-z_][\w.-]*/")
_BLOCK = 8 << 20
"""Bytes of a part of an upload; S3 takes 10,000 parts and none below 5 MiB but the last."""
_CHUNK = 1 << 20
_LASTING_STATUS = (400, 401, 403)


class PlaceError(Exception):
    """A file can't be there, or can't be reached; says why, without credentials."""


class Target(Protocol):
    """A file that is being written."""

    def write(self, data: bytes) -> None:
        """Write more of it."""

    def finish(self) -> None:
        """All of it is written; make it durable."""

    def commit(self) -> None:
        """Put it in its place."""

    def discard(self) -> None:
        """Let nothing of it remain."""


def _by_fsspec(scheme: str) -> Any:
    """The file system that fsspec has for a scheme; it remembers no listing."""
    import fsspec

    return fsspec.filesystem(scheme, use_listings_cache=False)


def _google_storage(scheme: str) -> Any:
    """Google's object store, by its JSON API alone.

    What `fsspec.filesystem` gives asks another API, with credentials of its own, what kind of
    bucket it has, and others see an object of a zonal bucket before it is whole.
    """
    from gcsfs.core import GCSFileSystem

    log = logging.getLogger("gcsfs")
    if not log.handlers:
        # What it raises is reported; its tracebacks are not to appear on stderr.
        log.addHandler(logging.NullHandler())
    return GCSFileSystem(use_listings_cache=False)


class _Remote(NamedTuple):
    """A kind of place that fsspec knows.

    Attributes:
        module: the package that it needs.
        extra: the extra of flowtoy that brings the package.
        open_target: opens a file system's file to be written.
        more: what the package imports when it is used.
        system: makes the file system of a scheme.
        has_buckets: whether a URL begins with the name of a bucket.
    """

    module: str
    extra: str
    open_target: Callable[[Any, str], Target]
    more: tuple[str, ...] = ()
    system: Callable[[str], Any] = _by_fsspec
    has_buckets: bool = True


def scheme_of(place: str) -> str | None:
    """The scheme of a URL, in lower case; None for a path."""
    found = _SCHEME.match(place)
    return found[1].lower() if found else None


def why_unusable(place: str) -> tuple[str, str | None] | None:
    """Why nothing can be written to a place, and a hint; None where nothing is known against it.

    Args:
        place: a path or URL, or the beginning of one.
    """
    scheme = scheme_of(place)
    if scheme is None:
        return None
    if "@" in place.partition("://")[2].partition("/")[0]:
        hint = "the environment gives them, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return "the URL of a file must not hold credentials", hint
    if scheme == "file":
        return None
    remote = _REMOTE.get(scheme)
    if remote is None:
        known = ", ".join(f"'{name}://'" for name in sorted(_REMOTE))
        return f"files at '{scheme}://' are not supported", f"use a path, or one of {known}"
    if remote.has_buckets and place.partition("://")[2].startswith("/"):
        return "the URL names no bucket", f"write {scheme}://bucket/name"
    return missing_package(f"files at '{scheme}://'", remote.module, remote.extra)


def unreplaced_home(path: str) -> tuple[str, str] | None:
    """That a path begins with `~`, which is a shell's word for a folder, and what to write."""
    if _HOME.match(path) is None:
        return None
    rest = path.partition("/")[2]
    return "'~' is not replaced in a path", f"write '{{{{ env.HOME }}}}/{rest}'"


def modules_of(place: str) -> tuple[str, ...]:
    """What is imported when a URL is used, which may take a second."""
    remote = _REMOTE.get(scheme_of(place) or "")
    return () if remote is None else (remote.module, *remote.more)


def missing_package(what: str, module: str, extra: str) -> tuple[str, str | None] | None:
    """That a package is missing, and how to get it; None where it is there."""
    if importlib.util.find_spec(module) is not None:
        return None
    return f"{what} need '{module}', which is not installed", (
        f"pip install 'flowtoy-dagster[{extra}]'"
    )


def local_path(place: str) -> Path | None:
    """The path of a place on this machine; None for others.

    Raises:
        PlaceError: it is a `file:` URL of another machine, or no path, or a relative path where the
            working directory was deleted.
    """
    scheme = scheme_of(place)
    if scheme not in (None, "file"):
        return None
    path = place
    if scheme == "file":
        parts = urllib.parse.urlsplit(place)
        if parts.netloc not in ("", "localhost"):
            raise PlaceError("a 'file:' URL names a file of this machine: file:///folder/name")
        path = urllib.parse.unquote(parts.path)
    if not path or "\0" in path:
        raise PlaceError("the path is empty" if not path else "the path holds a NUL character")
    found = absolute(path)
    if found is None:
        raise PlaceError(f"{DELETED}, and '{path}' is a relative path")
    return Path(found)


def open_target(place: str, *, private: bool = False) -> Target:
    """A file at a place, to be written; the folders that it needs are made.

    Args:
        place: a path or URL.
        private: whether a new file, and each folder that is made for it, is its owner's alone, or
            of the group that the folder above is for.

    Raises:
        PlaceError: nothing can be written there.
        OSError: it can't be written.
    """
    unusable = why_unusable(place)
    if unusable is not None:
        raise PlaceError("; ".join(part for part in unusable if part))
    path = local_path(place)
    if path is not None:
        return _LocalTarget(path, private=private)
    remote = _REMOTE[scheme_of(place) or ""]
    system, key = file_system(place)
    return remote.open_target(system, key)


def open_source(place: str) -> BinaryIO:
    """A file at a place, to be read; one that is elsewhere is copied to this machine first.

    Raises:
        PlaceError: it can't be reached.
        OSError: it is not there, or can't be read.
    """
    path = local_path(place)
    if path is not None:
        if not stat.S_ISREG(path.stat().st_mode):
            raise PlaceError("it is not a regular file")
        return open(path, "rb")
    unusable = why_unusable(place)
    if unusable is not None:
        raise PlaceError("; ".join(part for part in unusable if part))
    system, key = file_system(place)
    copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
    try:
        with system.open(key, "rb") as file:
            while chunk := file.read(_CHUNK):
                copy.write(chunk)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy


def size_of(place: str) -> int:
    """The bytes of a file at a place.

    Raises:
        PlaceError: it can't be reached, or is a folder.
        OSError: it is not there.
    """
    path = local_path(place)
    if path is not None:
        return path.stat().st_size
    unusable = why_unusable(place)
    if unusable is not None:
        raise PlaceError("; ".join(part for part in unusable if part))
    system, key = file_system(place)
    try:
        found = system.info(key)
    except FileNotFoundError:
        raise
    except Exception as error:  # noqa: BLE001 - file systems raise many kinds
        raise PlaceError(reason_of(error)) from None
    if found.get("type") != "file":
        raise PlaceError("it is not a file")
    return int(found["size"])


def file_system(place: str) -> tuple[Any, str]:
    """The file system of a URL that can be used, and the path in it; nothing of it is remembered
    for later.
    """
    scheme, _, key = place.partition("://")
    return _REMOTE[scheme.lower()].system(scheme.lower()), key


def is_lasting(error: Exception) -> bool:
    """Whether what a file system raised stays so: nothing is there, or there is no access."""
    if isinstance(error, (FileNotFoundError, PermissionError)):
        return True
    # Other packages have the status of HTTP, or no more than its name.
    return getattr(error, "code", None) in _LASTING_STATUS or str(error).startswith("Forbidden")


def reason_of(error: Exception) -> str:
    """What a file system raised, in words and on one line."""
    reason = getattr(error, "strerror", None)
    if not reason and isinstance(error, FileNotFoundError):
        reason = "there is no such bucket or object"
    return " ".join(str(reason or f"{type(error).__name__}: {error}").split())


class _LocalTarget:
    """A file of this machine; links are followed."""

    def __init__(self, path: Path, *, private: bool) -> None:
        target = Path(os.path.realpath(path))
        try:
            if private:
                make_own_folder(target.parent)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise PlaceError(f"a part of the path '{path.parent}' is not a folder") from None
        if target.exists() and not target.is_file():
            raise PlaceError(f"'{path}' is not a regular file")
        if target.exists() and not os.access(target, os.W_OK):
            raise PlaceError(f"'{path}' is read-only")
        remove_abandoned(target)
        self._part = PartFile(target, mode_in(target.parent) if private else None)

    def write(self, data: bytes) -> None:
        self._part.file.write(data)

    def finish(self) -> None:
        self._part.finish()

    def commit(self) -> None:
        self._part.commit()

    def discard(self) -> None:
        self._part.discard()


class _UploadTarget:
    """An object that is there when its upload is completed, and not before."""

    def __init__(self, system: Any, key: str) -> None:
        self._file = system.open(key, "wb", autocommit=False, block_size=_BLOCK)

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def finish(self) -> None:
        self._file.close()

    def commit(self) -> None:
        self._file.commit()

    def discard(self) -> None:
        # It is not to upload what is left, when it is closed by the garbage collector.
        self._file.closed = True
        self._file.discard()


class _RenamedTarget:
    """A file that is renamed when it is whole, where a file system knows no uploads."""

    def __init__(self, system: Any, key: str) -> None:
        self._system = system
        self._key = key
        self._part = f"{key}.{secrets.token_hex(6)}.part"
        self._file = system.open(self._part, "wb")

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def finish(self) -> None:
        self._file.close()

    def commit(self) -> None:
        self._system.mv(self._part, self._key)

    def discard(self) -> None:
        self._file.close()
        if self._system.exists(self._part):
            self._system.rm(self._part)


_REMOTE = {
    "s3": _Remote("s3fs", "s3", _UploadTarget, ("aiobotocore.session",)),
    "gs": _Remote("gcsfs", "gcs", _UploadTarget, ("gcsfs.core",), _google_storage),
    "memory": _Remote("fsspec", "s3", _RenamedTarget, has_buckets=False),
}
