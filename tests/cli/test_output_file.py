"""Files, devices, pipes and links that outputs are written to."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowtoy_dagster import RunError, UsageError
from flowtoy_dagster.cli.shared.output_file import OutputFile

TEXT = b"the outputs\n"


def write(path: Path) -> None:
    """Write `TEXT` to a path as commands do: checked first, written after the run."""
    OutputFile(path, 1).write([TEXT[:4], TEXT[4:]])


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_has_the_mode_of_new_files(tmp_path: Path) -> None:
    write(tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == TEXT
    assert mode_of(tmp_path / "new") == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755], ids=oct)
def test_a_file_that_exists_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"from before")
    path.chmod(mode)
    write(path)
    assert path.read_bytes() == TEXT
    assert mode_of(path) == mode


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_stays_theirs(tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    path.touch(0o600)
    os.chown(path, 12345, 12346)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid, mode_of(path)) == (12345, 12346, 0o600)


@pytest.mark.parametrize("is_there", [True, False], ids=["to a file", "to nothing yet"])
def test_a_link_is_followed_and_stays(tmp_path: Path, is_there: bool) -> None:
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    if is_there:
        target.write_bytes(b"from before")
        target.chmod(0o600)
    (tmp_path / "second").symlink_to("folder/target")
    (tmp_path / "first").symlink_to("second")
    write(tmp_path / "first")
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert target.read_bytes() == TEXT
    assert mode_of(target) == (0o600 if is_there else 0o644)


@pytest.mark.parametrize("is_there", [True, False], ids=["to a file", "to nothing yet"])
def test_a_link_that_is_made_during_the_run_is_followed_and_stays(
    tmp_path: Path, is_there: bool
) -> None:
    file = OutputFile(tmp_path / "out", 1)
    if is_there:
        (tmp_path / "target").write_bytes(b"from before")
    (tmp_path / "out").symlink_to("target")
    file.write([TEXT])
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "target").read_bytes() == TEXT


@pytest.mark.parametrize("through_link", [False, True])
@pytest.mark.parametrize("reader_first", [True, False])
def test_a_fifo_is_written_into(tmp_path: Path, through_link: bool, reader_first: bool) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    path = fifo
    if through_link:
        path = tmp_path / "link"
        path.symlink_to(fifo)
    if reader_first:
        reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        file = OutputFile(path, 1)
        file.write([TEXT])
        assert os.read(reading, 100) == TEXT
        os.close(reading)
    else:
        file = OutputFile(path, 1)  # does not wait for a reader
        writing = threading.Thread(target=file.write, args=[[TEXT]])
        writing.start()
        assert fifo.read_bytes() == TEXT
        writing.join()
    assert stat.S_ISFIFO(fifo.stat().st_mode)


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes devices")
def test_a_device_is_written_into(tmp_path: Path) -> None:
    null = tmp_path / "null"  # never the real one: as root, a mistake would replace it
    os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    try:
        os.close(os.open(null, os.O_WRONLY))
    except OSError:
        pytest.skip("devices can't be used on this file system")
    write(null)
    assert stat.S_ISCHR(null.stat().st_mode)


def test_a_terminal_is_written_into() -> None:
    reading, terminal = os.openpty()
    write(Path(os.ttyname(terminal)))
    assert os.read(reading, 100) == TEXT.replace(b"\n", b"\r\n")
    os.close(reading)
    os.close(terminal)


@pytest.mark.parametrize("form", ["/dev/fd/{}", "/proc/self/fd/{}", "link"])
def test_a_descriptor_that_the_shell_has_opened_is_written_into(tmp_path: Path, form: str) -> None:
    kept = tmp_path / "opened"
    with open(kept, "wb") as opened:
        path = Path(form.format(opened.fileno()))
        if form == "link":
            path = tmp_path / "link"
            path.symlink_to(f"/dev/fd/{opened.fileno()}")
        before = kept.stat().st_ino
        file = OutputFile(path, 1)
    file.write([TEXT])
    assert kept.read_bytes() == TEXT
    assert kept.stat().st_ino == before


def test_stdout_is_what_it_was_when_the_command_started(tmp_path: Path) -> None:
    # steps and libraries that print to it have been sent to stderr since
    with open(tmp_path / "stdout", "wb") as stdout:
        OutputFile(Path("/dev/stdout"), stdout.fileno()).write([TEXT])
    assert (tmp_path / "stdout").read_bytes() == TEXT


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("absent/out", "there is no folder"),
        ("folder", "it is a folder"),
        ("/proc/out", "no such file or directory"),
        ("/dev/fd/987", "bad file descriptor"),
        ("circle", "symbolic link"),
        ("file/out", "there is no folder|not a directory"),
    ],
)
def test_what_cannot_be_written_is_reported_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    Path("circle").symlink_to("circle")
    with pytest.raises(UsageError, match=f"can't write '{place}': .*({reason})"):
        OutputFile(Path(place), 1)
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file", "circle"}


def test_a_reader_that_is_gone_is_no_usage_error(tmp_path: Path) -> None:
    # the run has ended by then: exit code 1, not 2
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    file = OutputFile(fifo, 1)
    os.close(reading)
    with pytest.raises(RunError, match=r"broken pipe\n.*the run has ended") as caught:
        file.write([TEXT])
    assert caught.value.exit_code == 1


def test_what_fails_half_way_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"from before")

    def parts() -> Iterator[bytes]:
        yield TEXT
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        OutputFile(path, 1).write(parts())
    assert path.read_bytes() == b"from before"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_shell_s_process_substitution_gets_the_outputs(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(
        "flow: [{name: a, source: process, input: {command: [echo, hi]},"
        " output: [{name: text, value: stdout}]}]"
    )
    flowtoy = f"{shlex.quote(sys.executable)} -m flowtoy_dagster"
    line = f"{flowtoy} run flow.yaml -j -o >(cat > got) > printed && cat got printed"
    line += f"; {flowtoy} runs outputs last -j > /dev/stdout"
    done = subprocess.run(
        ["bash", "-c", line + "; wait"], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    printed = (tmp_path / "printed").read_text()
    assert '"hi\\n"' in printed
    assert (tmp_path / "got").read_text() == printed
    assert done.stdout.endswith(printed)
