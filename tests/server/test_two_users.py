"""Two users on one machine: nothing of one is read, changed or started by the other."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from serving_commands import Serving, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can play another user")
STRANGER = 45678


def as_stranger(work: Callable[[], str]) -> str:
    """What another user of the machine gets; an error's name, where it is one."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setgid(STRANGER)
            os.setuid(STRANGER)
            told = work()
        except BaseException as error:
            code = getattr(error, "code", "")
            told = f"{type(error).__name__} {code}".strip()
        os.write(writing, told.encode()[:1000])
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as answer:
        told = answer.read()
    os.waitpid(pid, 0)
    return told


@pytest.fixture
def served(
    serving: Callable[..., Serving], write: Callable[..., Path], made_home: Path, tmp_path: Path
) -> Iterator[Serving]:
    """A web UI of root's, whose folders' parents everybody may pass through."""
    for folder in (tmp_path, *tmp_path.parents, *made_home.parents):
        if folder != Path("/") and folder.stat().st_uid == 0 and "pytest" in str(folder):
            folder.chmod(0o711)
    write("flow: [{name: only, source: env, output: [{name: all, type: raw}]}]")
    mask = os.umask(0)
    try:
        found = serving("webui", "flow.yaml", "--port", "0", "--address-file", "address")
    finally:
        os.umask(mask)
    found.wait_for_run("succeeded")
    yield found
    assert found.end() == 0


def test_a_stranger_reads_starts_and_changes_nothing(
    served: Serving, made_home: Path, tmp_path: Path
) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(path: str, body: bytes | None = None) -> Callable[[], str]:
        def work() -> str:
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(served.url + path, body, headers)
            with opener.open(request, timeout=60) as answer:
                return f"{answer.status} {answer.read(200)!r}"

        return work

    for path in ("/", "/status", "/outputs", "/healthz", "/flow", "/runs", "/server_info"):
        assert as_stranger(ask(path)) == "HTTPError 401"
    assert as_stranger(ask("/graphql", b'{"query": "{ version }"}')) == "HTTPError 401"
    assert as_stranger((tmp_path / "address").read_text) == "PermissionError"
    assert as_stranger(lambda: str(list(made_home.iterdir()))) == "PermissionError"
    assert as_stranger((made_home / "dagster.yaml").read_text) == "PermissionError"
    # With a umask of 000, too.
    assert [path for path in made_home.rglob("*") if path.stat().st_mode & 0o077] == []
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert "flowtoy_dagster" in listed
    assert served.token not in listed


def test_the_socket_of_the_code_location_is_for_its_owner_alone(served: Serving) -> None:
    def sockets() -> list[Path]:
        # Those of this command: others of the same user may serve on this machine, too.
        prefix = f"flowtoy-webui-{os.geteuid()}-"
        processes = psutil.Process(served.process.pid).children(recursive=True)
        return [Path(open_one.laddr) for process in processes
                for open_one in process.net_connections("unix") if prefix in open_one.laddr]

    found = wait_until(sockets, "the code location has a socket")

    def connect() -> str:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(found[0]))
        return "connected"

    for path in found:
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert as_stranger(connect) == "PermissionError"
    assert served.end() == 0
    assert not any(path.parent.exists() for path in found)


def test_the_home_of_another_user_is_not_used(made_home: Path, write: Callable[..., Path]) -> None:
    os.chown(made_home, STRANGER, STRANGER)
    done: Any = subprocess.run(
        [sys.executable, "-m", "flowtoy_dagster", "runs"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"belongs to another user (uid {STRANGER})" in done.stderr
    assert "Traceback" not in done.stderr
