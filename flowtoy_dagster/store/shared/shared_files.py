"""What all machines of a deployment share: a folder, or an object store (`FLOWTOY_FILES`)."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import urllib.parse
from pathlib import Path

from flowtoy_dagster.datafiles.modes import is_for_group, patiently
from flowtoy_dagster.datafiles.places import modules_of, scheme_of, why_unusable
from flowtoy_dagster.errors import HomeError, system_reason
from flowtoy_dagster.store.shared.object_store import ObjectStore
from flowtoy_dagster.store.store import FolderStore, Store, open_store

FILES_VARIABLE = "FLOWTOY_FILES"
"""Names the folder, or the URL, with what all machines must find; by default it is the home.

Configurations, records of steps, output files, cursors and what steps print are there; the tokens
and rates of sources stay in the home of each machine.
"""
LOGS_FOLDER = "storage"
"""What steps print, by run."""


_SPECIAL = re.compile(r"[*?\[\]{}#]")


def shared_url() -> str | None:
    """The URL of an object store that `FLOWTOY_FILES` names; None where it names none.

    Raises:
        HomeError: it can't be used; says why, without what may be a password in it.
    """
    value = os.environ.get(FILES_VARIABLE, "")
    scheme = scheme_of(value)
    if scheme is None or scheme == "file":
        return None
    unusable = why_unusable(value)
    if unusable is None and not value.partition("://")[2].strip("/"):
        unusable = "it names no bucket", f"write {scheme}://bucket/prefix"
    special = _SPECIAL.search(value)
    if unusable is None and special is not None:
        unusable = f"it contains '{special[0]}', which stands for several names", "write another"
    if unusable is not None:
        reason, hint = unusable
        more = f"\n    {hint}" if hint else ""
        raise HomeError(f"{FILES_VARIABLE} can't be used: {reason}{more}")
    return value.rstrip("/")


def shared_folder(home: str | Path) -> Path:
    """The folder that `FLOWTOY_FILES` names, else the home, as where it names a URL.

    Raises:
        HomeError: it is not an absolute path.
    """
    value = os.environ.get(FILES_VARIABLE)
    if not value or shared_url() is not None:
        return Path(home)
    if value.startswith("file:///"):
        value = urllib.parse.unquote(value.removeprefix("file://"))
    folder = Path(value)
    if not folder.is_absolute():
        raise HomeError(
            f"{FILES_VARIABLE} is not an absolute path: '{value}'\n"
            "    use the absolute path of a folder that all machines share, or s3://bucket/prefix"
        )
    return folder


def check_shared_folder(home: str | Path) -> None:
    """See that this user can use the folder that `FLOWTOY_FILES` names, if it names one.

    For the start of a process: what comes after it trusts the folder.

    Raises:
        HomeError: it is not the absolute path of a folder, it belongs to another user, or it
            can't be written.
    """
    folder = shared_folder(home)
    if folder != Path(home):
        _check(folder)


def shared_place(home: str | Path) -> str:
    """What messages call the place that all machines share, or the home where it is that."""
    folder = shared_folder(home)
    alone = f"the home folder {home}" if folder == Path(home) else f"the folder {folder}"
    return shared_url() or alone


def modules_of_files() -> list[str]:
    """What a process imports before it forks workers that will use the object store."""
    url = shared_url()
    return list(modules_of(url)) if url is not None else []


def shared_store(home: str | Path, name: str) -> Store:
    """A store of a home, where all machines share it if `FLOWTOY_FILES` says so."""
    url = shared_url()
    if url is None:
        return open_store(shared_folder(home) / name)
    return ObjectStore(f"{url}/{name}", FolderStore(Path(home) / name))


def _check(folder: Path) -> None:
    try:
        facts = folder.stat()
    except FileNotFoundError:
        raise HomeError(
            f"the folder {folder}, which {FILES_VARIABLE} names, does not exist\n"
            "    make it, or mount it"
        ) from None
    except OSError as error:
        reason = system_reason(error)
        raise HomeError(f"the folder {folder} can't be used: {reason}") from None
    if not stat.S_ISDIR(facts.st_mode):
        raise HomeError(
            f"{folder}, which {FILES_VARIABLE} names, is not a folder\n    name a folder"
        )
    if facts.st_uid not in (0, os.geteuid()):
        raise HomeError(
            f"the folder {folder} belongs to another user (uid {facts.st_uid}): that user could\n"
            "    have this command execute anything\n"
            f"    set {FILES_VARIABLE} to a folder of the user that runs flowtoy on all machines,\n"
            "    or to one of root with the mode 2770, of a group that all these users are in"
        )
    for one in (folder, *_folders_in(folder)):
        _check_use(folder, one)


def _check_use(shared: Path, folder: Path) -> None:
    """See that this user can use a folder, the shared one or one in it."""
    def use() -> None:
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK) and os.path.lexists(folder):
            raise PermissionError

    try:
        if is_for_group(shared):
            patiently(use)  # another user may just be making it
        else:
            use()
    except PermissionError:
        raise _not_shared(shared, folder) from None


def _folders_in(folder: Path) -> list[Path]:
    """The folders of stores, and of what steps print."""
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        return [Path(one) for one in found if one.name.startswith("flowtoy-") or
                one.name == LOGS_FOLDER]
    return []


def _not_shared(folder: Path, part: Path) -> HomeError:
    facts = part.stat()
    return HomeError(
        f"{part} (uid {facts.st_uid}, gid {facts.st_gid}, mode "
        f"{stat.S_IMODE(facts.st_mode):04o}) can't be used by this user (uid {os.geteuid()}, gid "
        f"{', '.join(map(str, sorted({os.getegid(), *os.getgroups()})))})\n"
        "    run flowtoy as one user on all machines, or let users of one group share the folder:\n"
        f"    chown root {folder} && chgrp -R GROUP {folder} && chmod -R u=rwX,g=rwX,o= {folder}\n"
        f"    && find {folder} -type d -exec chmod 2770 {{}} +"
    )
