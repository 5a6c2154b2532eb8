"""Which process carries a run, and what is certain of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flowtoy_dagster.runs.sessions import sessions
from flowtoy_dagster.runs.sessions.sessions import (
    Carrier,
    Session,
    carrier_of,
    session_id,
)

CAN_UNSHARE = (
    shutil.which("unshare") is not None
    and subprocess.run(
        ["unshare", "-pf", "--mount-proc", "true"], capture_output=True, check=False
    ).returncode == 0
)
needs_unshare = pytest.mark.skipif(not CAN_UNSHARE, reason="only root makes PID namespaces")


def mine() -> Session:
    found = Session.parse(session_id())
    assert found is not None
    return found


def text(session: Session) -> str:
    return "/".join(session)


def test_a_session_is_a_process_of_this_machine_boot_and_namespace() -> None:
    # runtime 10: a number that is used again is another process
    session = mine()
    assert session.process == os.getpid()
    assert carrier_of(text(session)) is Carrier.ALIVE
    assert carrier_of(text(session._replace(start="1"))) is Carrier.GONE


@pytest.mark.parametrize(
    "changed",
    [
        {"boot": "another"},
        {"boot": "another", "machine": "another"},
        {"boot": "another", "host": "another"},
        {"boot": "?"},
        {"namespace": "1-2"},
        {"namespace": "?"},
        {"namespace": "1-2", "host": "another"},
        {"start": "?"},
        {"pid": "?"},
    ],
    ids=" and ".join,
)
@pytest.mark.parametrize("pid", [str(os.getpid()), "1"], ids=["ours", "the first"])
def test_a_process_that_cannot_be_seen_is_not_taken_for_dead(
    changed: dict[str, str], pid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # in a container, or a copy of a machine, nothing tells of a restart
    monkeypatch.setattr(sessions, "_namespace", lambda: "4026539999-4026531834")
    session = mine()._replace(pid=pid)._replace(**changed)
    assert carrier_of(text(session)) is Carrier.UNKNOWN


def test_the_host_name_does_not_matter_where_the_process_can_be_seen() -> None:
    renamed = mine()._replace(host="before")
    assert carrier_of(text(renamed)) is Carrier.ALIVE
    assert carrier_of(text(renamed._replace(start="1"))) is Carrier.GONE


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, Carrier.GONE),
        ({"machine": "a copy"}, Carrier.UNKNOWN),
        ({"host": "a copy"}, Carrier.UNKNOWN),
        ({"namespace": "1-2"}, Carrier.UNKNOWN),
    ],
    ids=["the same machine", "another id", "another name", "in a container"],
)
def test_a_process_from_before_a_restart_is_gone(
    changed: dict[str, str], expected: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_namespace", lambda: "4026531836-4026531834")
    monkeypatch.setattr(sessions, "_machine", lambda: "0123456789abcdef")
    session = mine()._replace(boot="before", **changed)
    assert carrier_of(text(session)) is expected


def test_a_zombie_that_nobody_reaps_is_gone() -> None:
    child = subprocess.Popen(["sleep", "600"])
    session = session_id(child.pid)
    assert carrier_of(session) is Carrier.ALIVE
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{child.pid}/stat").exists()
    assert carrier_of(session) is Carrier.GONE
    child.wait()
    assert carrier_of(session) is Carrier.GONE


def test_sessions_of_the_first_version_are_never_certain() -> None:
    session = mine()
    for start in (session.start, "1"):
        old = f"{session.host}/{session.boot}/{session.pid}/{start}"
        assert carrier_of(old) is Carrier.UNKNOWN
    for nonsense in ("", "nonsense", "a/b/c", "/////"):
        assert carrier_of(nonsense) is Carrier.UNKNOWN


@needs_unshare
@pytest.mark.parametrize("mount", [["--mount-proc"], []], ids=["own /proc", "the host's /proc"])
def test_a_live_process_is_not_taken_for_dead_from_another_namespace(mount: list[str]) -> None:
    asks = (
        "import sys; from flowtoy_dagster.runs.sessions.sessions import *;"
        "print(carrier_of(sys.argv[1]).name, carrier_of(session_id()).name)"
    )
    for session in (session_id(), text(mine()._replace(pid="1"))):
        done = subprocess.run(
            ["unshare", "-pf", *mount, sys.executable, "-c", asks, session],
            capture_output=True, text=True, timeout=200, check=True,
        )
        there, own = done.stdout.split()
        assert there == "UNKNOWN"
        assert own in ("ALIVE", "UNKNOWN")
