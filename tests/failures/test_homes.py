"""Homes that are full, read-only or too new: a clear error, and no output that is half written."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

BIG = """
flow:
  - {name: small, source: process, input: {command: [echo, fine]}}
  - name: big
    source: process
    depends_on: small
    input: {command: [sh, -c, "head -c 6000000 /dev/zero | tr '\\\\0' x"]}
    output: [{name: text, value: stdout}]
"""


def check_failed(code: int, stderr: str, reason: str, home: Path, shown: Any) -> None:
    """The step that could not be stored has failed, says why, and nothing of it is left."""
    assert code == 1, stderr
    assert reason in stderr.lower()
    assert "Traceback" not in stderr
    assert [path.name for path in (home / "storage").rglob("*.part")] == []
    assert shown["state"] == "failed"
    assert shown["steps"]["small"]["state"] == "succeeded"
    assert shown["steps"]["big"]["state"] == "failed"
    assert reason in shown["steps"]["big"]["notes"][0].lower()


def test_an_output_that_a_limit_refuses_fails_its_step_and_leaves_nothing_half_written(
    write: Callable[..., Path], home: Path, flowtoy: Callable[..., Any]
) -> None:
    # runtime 13. A limit on the size of files needs no rights, unlike a small disk.
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))

    done = subprocess.run(
        [sys.executable, "-m", "flowtoy_dagster", "run", str(write(BIG)), "-j"],
        capture_output=True, text=True, preexec_fn=limit, timeout=200,
    )
    shown = flowtoy("runs", "show", "last", "--json").json
    check_failed(done.returncode, done.stderr, "file too large", home, shown)
    assert json.loads(done.stdout) == {"small": {}, "big": None}
    # What had succeeded is there for a retry, which has no limit.
    again = flowtoy("retry", "last", "-j")
    assert again.code == 0, again.stderr
    assert "small  reused" in again.stderr
    assert len(again.json["big"]["text"]) == 6_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no space on the disk of a folder."""
    filler = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(filler, b"x" * 4096)
    os.close(filler)


def test_a_full_disk_fails_the_run_and_leaves_nothing_half_written(
    small_disk: Path, flowtoy: Callable[..., Any], write: Callable[..., Path]
) -> None:
    # runtime 13
    home = small_disk / "home"
    env = {"FLOWTOY_HOME": str(home)}
    done = flowtoy("run", write(BIG), "-j", env=env)
    shown = flowtoy("runs", "show", "last", "--json", env=env).json
    check_failed(done.code, done.stderr, "no space left", home, shown)


def test_a_home_without_any_space_is_an_error_before_any_step(
    small_disk: Path, flowtoy: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    # runtime 13
    fill(small_disk)
    path = write(f"""
        flow:
          - {{name: one, source: process, input: {{command: [touch, {tmp_path}/started]}}}}
        """)
    done = flowtoy("run", path, env={"FLOWTOY_HOME": str(small_disk / "home")})
    assert done.code == 2, done.stderr
    assert "home" in done.stderr
    assert "no space left" in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "started").exists()


def test_commands_that_look_at_a_home_say_that_its_disk_is_full(
    small_disk: Path, flowtoy: Callable[..., Any], write: Callable[..., Path]
) -> None:
    # runtime 13
    env = {"FLOWTOY_HOME": str(small_disk / "home")}
    path = write("flow: [{name: one, source: process, input: {command: ['true']}}]")
    assert flowtoy("run", path, env=env).code == 0
    fill(small_disk)
    for arguments in (["runs"], ["runs", "show", "last"], ["pools"], ["runs", "prune", "--keep=0"]):
        done = flowtoy(*arguments, env=env)
        reason = f"the history in {small_disk}/home can't be used: no space left on device\n"
        assert (done.code, done.stderr) == (2, reason), arguments


def test_a_disk_that_fills_up_anywhere_is_a_clear_error(
    small_disk: Path, flowtoy: Callable[..., Any], write: Callable[..., Path]
) -> None:
    # runtime 13
    path = write("flow: [{name: one, source: process, input: {command: ['true']}}]")
    reasons = ("no space left on device", "database or disk is full", "disk I/O error")
    codes = []
    for kilobytes in range(50, 1050, 100):
        filler = small_disk / "filler"
        filler.write_bytes(b"x" * ((4096 - kilobytes) << 10))
        done = flowtoy("run", path, env={"FLOWTOY_HOME": str(small_disk / "home")})
        codes.append(done.code)
        if done.code:
            last = done.stderr.rstrip().splitlines()[-1]
            assert last.startswith(("the history in ", "the run's history ", "the database ")), last
            assert last.endswith(reasons), last
        assert "Traceback" not in done.stderr
        shutil.rmtree(small_disk / "home", ignore_errors=True)
        filler.unlink()
    assert {1, 2} <= {*codes}, "both before there was a run and in one"


@pytest.mark.parametrize("kind", ["a file", "below a file", "unwritable"])
def test_an_unusable_home_is_an_error_before_any_step(
    kind: str, flowtoy: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    # runtime 13
    (tmp_path / "file").touch()
    # /proc can't be written by anybody, root too.
    home = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "home",
            "unwritable": Path("/proc/flowtoy-home")}[kind]
    path = write(f"""
        flow:
          - {{name: one, source: process, input: {{command: [touch, {tmp_path}/started]}}}}
        """)
    for arguments in (["run", path], ["runs"], ["retry", "last"]):
        done = flowtoy(*arguments, env={"FLOWTOY_HOME": str(home)})
        assert done.code == 2, done.stderr
        assert f"the home folder {home} can't be used" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("checked", [True, False], ids=["known before", "never seen"])
def test_a_home_of_a_newer_version_is_an_error_before_any_step(
    checked: bool, flowtoy: Callable[..., Any], write: Callable[..., Path], tmp_path: Path,
    home: Path,
) -> None:
    # runtime 13. What tells a version is the revision of the databases' schema.
    path = write(f"""
        flow:
          - {{name: one, source: process, input: {{command: [touch, {tmp_path}/started]}}}}
        """)
    # A file without a byte was made ahead of its tables, so that nobody else can read it.
    for store in [path for path in home.rglob("*.db") if path.stat().st_size]:
        with contextlib.closing(sqlite3.connect(store)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = 'f00000000000'")
    if not checked:
        for mark in (home / "history").glob("schema-checked-*"):
            mark.unlink()
    for arguments in (["run", path], ["runs"], ["retry", "last"]):
        done = flowtoy(*arguments)
        assert done.code == 2, done.stderr
        first, fix = done.stderr.splitlines()
        assert first.startswith(f"the home folder {home} was made by a newer version of Dagster")
        assert fix == "    update dagster, or use another home"
        assert done.stdout == ""
    assert not (tmp_path / "started").exists()
