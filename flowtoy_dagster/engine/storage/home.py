"""The home folder: where it is, what is in it, and who may read it. No Dagster in here."""

import json
import logging
import os
import re
import stat
import tempfile
from pathlib import Path

import platformdirs

from flowtoy_dagster.engine.storage.address import STORAGE_MODULE, check_storage, storage_address
from flowtoy_dagster.errors import HomeError, system_reason
from flowtoy_dagster.machine.working_directory import DELETED
from flowtoy_dagster.masking.mask import STORAGE_VARIABLE
from flowtoy_dagster.store.files import make_private_folder, write_whole
from flowtoy_dagster.store.shared.shared_files import check_shared_folder

CONFIG_FILE = "dagster.yaml"

DAGSTER_YAML = """\
# Written by flowtoy when it made this folder; yours to change.
storage:
  custom:
{storage}
compute_logs:
  module: flowtoy_dagster.engine.storage
  class: DirectComputeLogManager
  config:
    base_dir: {logs}
telemetry:
  enabled: false
nux:
  enabled: false
# Runs start when they are asked for. A deployment with the daemon may queue them instead.
run_coordinator:
  module: dagster.core.run_coordinator
  class: DefaultRunCoordinator
"""
_NO_USER_HOME = (
    "the home folder is unknown: this user has no home directory (HOME is not set)\n"
    "    set FLOWTOY_HOME to a folder that you can write"
)
_OF_DAGSTER = ("history", "schedules")
"""What Dagster makes in a folder that it uses without a `dagster.yaml`."""
_LONGEST_PATH = 420
"""Bytes; SQLite opens no file whose path has more than 512."""
_SPECIAL = re.compile(r"[*?\[]|%[0-9A-Fa-f]{2}")
"""Dagster looks for `dagster.yaml` by a pattern, and makes a URL of the path of a database."""
IN_FILES = """\
    module: flowtoy_dagster.engine.storage
    class: WarmStorage
    config:
      base_dir: {home}"""
IN_DATABASE = f"""\
    module: {STORAGE_MODULE}
    class: WarmPostgresStorage
    config:
      # The address holds a password, so it stays in the environment.
      postgres_url:
        env: {STORAGE_VARIABLE}"""


def home_folder() -> Path:
    """`$DAGSTER_HOME`, else `$FLOWTOY_HOME`, else the user's data folder.

    Raises:
        HomeError: it is in the user's home directory, which is unknown, or in a working directory
            that is deleted.
    """
    for name in ("DAGSTER_HOME", "FLOWTOY_HOME"):
        value = os.environ.get(name)
        if value:
            return _absolute(Path(value))
    try:
        folder = Path(platformdirs.user_data_dir("flowtoy", appauthor=False))
    except RuntimeError:
        raise HomeError(_NO_USER_HOME) from None
    if os.environ.get("HOME") == "" and not os.environ.get("XDG_DATA_HOME"):
        raise HomeError(_NO_USER_HOME)
    return _absolute(folder)


def _absolute(folder: Path) -> Path:
    # An empty HOME would stand for the root directory.
    if str(folder).startswith("~") and os.environ.get("HOME") == "":
        raise HomeError(_NO_USER_HOME)
    try:
        return folder.expanduser().absolute()
    except RuntimeError:
        raise HomeError(_NO_USER_HOME) from None
    except FileNotFoundError:
        raise HomeError(
            f"the home folder {folder} can't be found: {DELETED}\n"
            "    set FLOWTOY_HOME to an absolute path"
        ) from None


def open_home(folder: Path | None = None) -> Path:
    """The home folder, made ready: private, writable, with a `dagster.yaml`.

    A folder that is open to other users is closed to them, with a line on stderr.

    Raises:
        HomeError: it can't be made or written, belongs to another user, or keeps runs elsewhere
            than the environment says; or the folder that machines share can't be used; says why.
    """
    home = _absolute(folder) if folder else home_folder()
    check_path(home)
    try:
        make_private_folder(home)
        check_owners(home)
        with tempfile.TemporaryFile(dir=home, prefix=f".{CONFIG_FILE}."):
            """It can be written."""
        _close(home)
        if is_new(home):
            write_whole(home / CONFIG_FILE, new_settings(home).encode())
    except OSError as error:
        reason = system_reason(error)
        raise HomeError(
            f"the home folder {home} can't be used: {reason}\n"
            "    set FLOWTOY_HOME to a folder that you can write"
        ) from None
    check_storage(home / CONFIG_FILE)
    check_shared_folder(home)
    return home


def _close(home: Path) -> None:
    """Close a home to other users.

    Raises:
        HomeError: it is a folder that is meant to be open, such as `/tmp`.
        OSError: its mode can't be changed.
    """
    mode = open_mode(home)
    if not mode:
        return
    home.chmod(mode & ~0o077)
    logging.getLogger("flowtoy.home").warning(
        "the home folder %s was open to other users (mode %04o): it is now %04o",
        home, mode, mode & ~0o077,
    )


def open_mode(home: Path) -> int:
    """The mode of a home that is open to other users; 0 where it is closed to them.

    Raises:
        HomeError: it is a folder that is meant to be open, such as `/tmp`.
    """
    mode = stat.S_IMODE(home.stat().st_mode)
    if not mode & 0o077:
        return 0
    if mode & stat.S_ISVTX or home == home.parent:
        raise HomeError(
            f"the home folder {home} is a folder for all users of the machine\n"
            "    set FLOWTOY_HOME to a folder of your own"
        )
    return mode


def check_owners(home: Path) -> None:
    """Check that no other user can make a command execute something by a file in the home.

    Raises:
        HomeError: the home or its `dagster.yaml` belongs to another user.
        OSError: it can't be read.
    """
    _check_owner(home.stat().st_uid, f"the home folder {home}")
    settings = home / CONFIG_FILE
    # What an administrator has put into a user's home was put there for that user.
    if settings.exists() and settings.stat().st_uid != 0:
        _check_owner(settings.stat().st_uid, f"{settings}, which names code to execute,")


def _check_owner(owner: int, what: str) -> None:
    if owner != os.geteuid():
        raise HomeError(
            f"{what} belongs to another user (uid {owner}), who could have this command execute"
            " anything\n"
            "    set FLOWTOY_HOME to a folder of your own, or run the command as that user"
        )


def check_path(home: Path) -> None:
    """See that Dagster and SQLite can work with the path of a home.

    Raises:
        HomeError: they can't; says why.
    """
    reason = _path_problem(home)
    if reason is not None:
        shown = str(home).encode("utf-8", "backslashreplace").decode()
        raise HomeError(
            f"the home folder {shown} can't be used: {reason}\n"
            "    set FLOWTOY_HOME to another folder"
        )


def _path_problem(home: Path) -> str | None:
    try:
        length = len(str(home).encode())
    except UnicodeEncodeError:
        return "its path is not UTF-8 text"
    found = _SPECIAL.search(str(home))
    if found is not None:
        return f"its path contains '{found[0]}', which has a special meaning for Dagster"
    # For one name that is too long the system has its own words.
    if length > _LONGEST_PATH and max(len(os.fsencode(part)) for part in home.parts) <= 255:
        return f"its path has {length} bytes, more than {_LONGEST_PATH}"
    return None


def is_new(home: Path) -> bool:
    """Whether a folder is given a `dagster.yaml` on first use.

    One that a deployment uses already, without a file, runs on Dagster's defaults. Other files,
    such as the `lost+found` of a volume, don't matter.
    """
    made = (CONFIG_FILE, *_OF_DAGSTER)
    return not any((home / name).exists() for name in made)


def new_settings(home: Path) -> str:
    """The `dagster.yaml` of a new home, for the database that `FLOWTOY_STORAGE` names if any."""
    # JSON strings are YAML strings, whatever characters a path has.
    return DAGSTER_YAML.format(
        storage=IN_DATABASE if storage_address() else IN_FILES.format(home=json.dumps(str(home))),
        logs=json.dumps(str(home / "storage")),
    )
