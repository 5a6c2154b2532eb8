"""A PostgreSQL server of its own for tests and benchmarks, from Debian's package."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ports import unused_port  # type: ignore[import-not-found]

USER = "flow"
PASSWORD = "pg+pass/w0rd?é"
QUOTED = "pg%2Bpass%2Fw0rd%3F%C3%A9"
PATIENCE = 90.0


class NoServerError(Exception):
    """PostgreSQL is not installed."""


@dataclass
class Server:
    """A server that runs.

    Attributes:
        programs: the folder of PostgreSQL's programs.
        folder: its data and its log.
        port: on 127.0.0.1.
        settings: as given to the server.
    """

    programs: Path
    folder: Path
    port: int
    settings: Sequence[str]
    _process: subprocess.Popen[bytes] | None = None

    def address(self, database: str, password: str = QUOTED) -> str:
        """The address of a database, as FLOWTOY_STORAGE takes it."""
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str, template: str = "template0") -> str:
        """Make a database; gives its address."""
        self.sql("postgres", f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return self.address(database)

    def sql(self, database: str, query: str) -> str:
        """Run a query; gives its rows as lines."""
        return self.program("psql", "-XAtq", "-c", query, self.address(database))

    def dump(self, database: str) -> str:
        """The whole database as SQL."""
        return self.program("pg_dump", "--inserts", self.address(database))

    def program(self, name: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs; gives what it prints."""
        done = subprocess.run(
            [str(self.programs / name), *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        options = [part for setting in self.settings for part in ("-c", setting)]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(self.folder / "data"), *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                **_unprivileged(),
            )
        deadline = time.monotonic() + PATIENCE
        ready = [str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text())
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGINT) -> None:
        """End all connections and the server; with SIGQUIT, as if it had crashed."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None


def programs_folder() -> Path:
    """Where PostgreSQL's programs are.

    Raises:
        NoServerError: nowhere.
    """
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4])
    )
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        raise NoServerError("PostgreSQL's server is not installed: apt-get install postgresql")
    return found[-1].parent if found else Path(on_path or "").parent


@contextlib.contextmanager
def running_server(*settings: str) -> Iterator[Server]:
    """A new server, gone with its data at the end of the block.

    Args:
        settings: beside those that make it the tests' own.
    """
    programs = programs_folder()
    # Not below pytest's folders, into which the server's user can't look.
    folder = Path(tempfile.mkdtemp(prefix="flowtoy-postgres-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, _owner(), _owner())
        (folder / "password").write_text(PASSWORD, encoding="utf-8")
        (folder / "password").chmod(0o644)
        subprocess.run(
            [str(programs / "initdb"), "-D", str(folder / "data"), "-U", USER, "-E", "UTF8",
             "--no-locale", "--no-sync", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}"],
            check=True, capture_output=True, cwd=folder, **_unprivileged(),
        )
        port = unused_port()
        own = ("listen_addresses=127.0.0.1", f"port={port}", f"unix_socket_directories={folder}")
        server = Server(programs, folder, port, (*own, *settings))
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _owner() -> str:
    """A user that PostgreSQL runs as: it refuses to run as root."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise NoServerError("there is no user 'postgres' that the server could run as")


def _unprivileged() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(_owner())
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
