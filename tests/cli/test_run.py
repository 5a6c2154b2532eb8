"""`flowtoy run`: its flags, its exit codes, and what goes to stdout and to stderr (cli)."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from provider_packages import install_provider

Run = Callable[..., Any]
Write = Callable[..., Path]
COMMAND = [sys.executable, "-m", "flowtoy_dagster", "run"]
DEADLINE = 120.0

TWO = """
name: two
flow:
  - name: first
    source: process
    input: {command: [sh, -c, "echo to stderr >&2; echo 1"]}
    output: [{name: number, value: json}]
  - name: the second
    source: process
    input: {command: [echo, "{{ flows.first.number + 1 }}é"]}
    output: [{name: text, value: stdout}]
"""
TWO_OUTPUTS = {"first": {"number": 1}, "the second": {"text": "2é\n"}}
BROKEN = """
flow:
  - name: good
    source: process
    input: {command: [echo, fine]}
    output: [{name: text, value: stdout}]
  - name: bad
    source: process
    depends_on: good
    input: {command: [sh, -c, "echo no paper >&2; exit 3"]}
  - {name: after, source: process, depends_on: bad, input: {command: [echo, never]}}
"""
STAMP = r"\d\d:\d\d:\d\d\.\d{3}"


def test_a_run_prints_its_outputs_and_tells_on_stderr_how_it_goes(
    flowtoy: Run, write: Write
) -> None:
    # cli: stdout carries the result and nothing else; a line per transition
    done = flowtoy("run", write(TWO))
    assert done.code == 0, done.stderr
    assert done.json == TWO_OUTPUTS
    assert done.stdout == json.dumps(TWO_OUTPUTS, indent=2, ensure_ascii=False) + "\n"
    *lines, summary = done.stderr.splitlines()
    patterns = [
        rf"{STAMP}  first       running",
        rf"{STAMP}  first       succeeded in \d+\.\d s",
        rf"{STAMP}  the second  running",
        rf"{STAMP}  the second  succeeded in \d+\.\d s",
    ]
    assert len(lines) == len(patterns)
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line
    assert re.fullmatch(
        r"succeeded: 2 succeeded in \d+\.\d s; flowtoy runs show [0-9a-f]{8}", summary
    )
    assert "\x1b" not in done.stderr


def test_warnings_go_to_stderr_before_the_run_and_change_nothing_else(
    flowtoy: Run, write: Write
) -> None:
    path = write("""
flow:
  - name: a
    source: process
    input: {command: [awk, 'BEGIN {print "{{ env.HOME }}"}']}
    output: [{name: text, value: stdout}]
""")
    done = flowtoy("run", path, "-j")
    assert done.code == 0, done.stderr
    assert done.json == {"a": {"text": f"{os.environ['HOME']}\n"}}
    lines = done.stderr.splitlines()
    message = "'awk' reads the value of this template as code"
    assert lines[0] == f"{path}:5:28: warning: {message}"
    assert lines[1].startswith("    give it as a variable in 'env'")
    assert "a  running" in lines[2]
    assert done.stderr.count("warning: ") == 1
    again = flowtoy("retry", "last", "--from", "a", "-q")
    assert f"{path}:5:28: warning: {message}" in again.stderr.splitlines()


def test_a_failed_run_exits_with_1_and_shows_what_failed_and_why(
    flowtoy: Run, write: Write
) -> None:
    # cli: a failure shows the step, what was called, the reason and the last lines of stderr
    done = flowtoy("run", write(BROKEN), "-j")
    assert done.code == 1
    # language 9.6
    assert done.json == {"good": {"text": "fine\n"}, "bad": None, "after": None}
    text = done.stderr
    assert re.search(rf"^{STAMP}  bad    failed after \d+\.\d s$", text, re.MULTILINE), text
    assert "    called: sh (2 arguments)\n" in text
    assert "    reason: sh exited with code 3: no paper\n" in text
    assert "    stderr: no paper\n" in text
    assert re.search(rf"^{STAMP}  after  skipped: .*bad", text, re.MULTILINE), text
    assert "failed: 1 succeeded, 1 failed, 1 skipped in " in text
    assert "Traceback" not in text


def test_json_is_complete_and_quiet_prints_nothing(flowtoy: Run, write: Write) -> None:
    path = write(TWO)
    done = flowtoy("run", path, "--json", "--max-workers", "1", "-o", "out.json")
    assert done.code == 0, done.stderr
    assert done.json == TWO_OUTPUTS
    assert list(done.json) == list(TWO_OUTPUTS)
    assert json.loads((path.parent / "out.json").read_text()) == TWO_OUTPUTS
    quiet = flowtoy("run", path, "-q", "--output-file", "quiet.json")
    assert quiet.code == 0, quiet.stderr
    assert quiet.stdout == ""
    assert json.loads((path.parent / "quiet.json").read_text()) == TWO_OUTPUTS


def test_an_output_file_named_by_a_dash_is_stdout(
    flowtoy: Run, write: Write, tmp_path: Path
) -> None:
    path = write("flow: [{name: a, source: env}]")
    plain, dash = flowtoy("run", path, "--json"), flowtoy("run", path, "-q", "-o", "-")
    assert dash.code == 0
    assert dash.json == plain.json
    assert not (tmp_path / "-").exists()


def test_outputs_of_a_failed_run_are_written_too(flowtoy: Run, write: Write) -> None:
    path = write(BROKEN)
    (path.parent / "out.json").write_text("from before")
    done = flowtoy("run", path, "-q", "-o", "out.json")
    assert done.code == 1
    written = json.loads((path.parent / "out.json").read_text())
    assert written == {"good": {"text": "fine\n"}, "bad": None, "after": None}
    left = sorted(p.name for p in path.parent.iterdir() if p.is_file())
    assert left == ["flow.yaml", "out.json"]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("absent/out.json", "can't write 'absent/out.json': there is no folder"),
        ("folder", "folder"),
        ("/proc/out.json", "can't write '/proc/out.json': no such file or directory"),
    ],
    ids=["no folder", "a folder", "not writable"],
)
def test_an_output_file_that_cannot_be_written_is_a_usage_error(
    flowtoy: Run, write: Write, place: str, message: str
) -> None:
    # cli: exit 2; /proc refuses root too, but only when the file is made
    path = write("flow: [{name: a, source: process, input: {command: [touch, ran]}}]")
    (path.parent / "folder").mkdir()
    done = flowtoy("run", path, "-o", place)
    assert done.code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    if not place.startswith("/proc"):
        assert not (path.parent / "ran").exists()


def test_an_existing_output_file_stays_where_the_run_never_starts(
    flowtoy: Run, write: Write, tmp_path: Path
) -> None:
    (tmp_path / "out.json").write_text("from before")
    done = flowtoy("run", write("flow: [{name: a, source: nothing}]"), "-o", "out.json")
    assert done.code == 2
    assert done.stdout == ""
    assert (tmp_path / "out.json").read_text() == "from before"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument"),
        (["flow.yaml", "--max-workers", "0"], "max-workers must be at least 1, got 0"),
        (["flow.yaml", "--max-workers", "many"], "'--max-workers'"),
        (["flow.yaml", "--log-level", "loud"], "'loud'"),
        (["flow.yaml", "--timeout", "soon"], "soon"),
        (["flow.yaml", "--env-file", "absent.env"], "can't read the env file 'absent.env': no suc"),
        (["flow.yaml", "--env-file", "bad.env"], "bad.env:2:1: not a line of the form NAME=value"),
        (["flow.yaml", "--env-file", "latin.env"], "can't read the env file 'latin.env': it is n"),
        (["absent.yaml"], "absent.yaml"),
    ],
    ids=lambda value: " ".join(value[1:]) or "no file" if isinstance(value, list) else "",
)
def test_a_wrong_command_line_exits_with_2(
    flowtoy: Run, write: Write, arguments: list[str], message: str
) -> None:
    path = write(TWO)
    (path.parent / "bad.env").write_text("GOOD=1\nnot a line\n")
    (path.parent / "latin.env").write_bytes(b"NAME=\xe9\n")
    done = flowtoy("run", *arguments)
    assert done.code == 2
    assert done.stdout == ""
    assert message in " ".join(re.sub("[│╭╮╰╯─]", "", done.stderr).split())
    assert "Traceback" not in done.stderr


def test_variables_of_env_files_are_set_and_those_already_set_win(
    flowtoy: Run, write: Write, tmp_path: Path
) -> None:
    # language 1.7
    path = write(
        """
        flow:
          - name: template
            source: process
            input: {command: [echo, "{{ env.ONE }} {{ env.TWO }} {{ env.THREE }}"]}
            output: [{name: text, value: stdout}]
          - name: command
            source: process
            input: {command: [sh, -c, "echo $ONE $TWO $THREE"]}
            output: [{name: text, value: stdout}]
        """
    )
    (tmp_path / "a.env").write_text("# a note\nONE=a\nexport TWO='a b'\nTHREE=a\n")
    (tmp_path / "b.env").write_text("TWO=b\nTHREE=b\n")
    done = flowtoy(
        "run", path, "-j", "--env-file", "a.env", "--env-file", "b.env", env={"ONE": "set"}
    )
    assert done.code == 0, done.stderr
    assert done.json == {"template": {"text": "set a b a\n"}, "command": {"text": "set a b a\n"}}


def test_secret_outputs_are_shown_only_where_that_is_asked_for(flowtoy: Run, write: Write) -> None:
    # language 13.2
    path = write(
        """
        flow:
          - name: login
            source: process
            input: {command: [echo, sesame-open]}
            output: [{name: text, value: stdout, secret: true}]
        """
    )
    hidden = flowtoy("run", path, "-j")
    assert hidden.code == 0, hidden.stderr
    assert "sesame-open" not in hidden.stdout + hidden.stderr
    shown = flowtoy("run", path, "-j", "--show-secrets")
    assert shown.json == {"login": {"text": "sesame-open\n"}}


def test_the_log_tells_more_where_that_is_asked_for(flowtoy: Run, write: Write) -> None:
    done = flowtoy("run", write(TWO), "-j", "--log-level", "info")
    assert done.code == 0, done.stderr
    assert done.json == TWO_OUTPUTS
    silent = flowtoy("run", write(TWO), "-j", "--log-level", "error")
    assert len(silent.stderr.splitlines()) == 5


def test_debug_shows_a_traceback_and_without_it_there_is_none(flowtoy: Run, write: Write) -> None:
    path = write("flow: [{name: a, source: nothing}]")
    plain, debug = flowtoy("run", path), flowtoy("run", path, "--debug")
    assert (plain.code, debug.code) == (2, 2)
    assert "Traceback" not in plain.stderr
    assert "Traceback (most recent call last):" in debug.stderr
    assert debug.stderr.endswith(plain.stderr)


NOISY = """
import os, subprocess, sys
print("printed at import")

class Noisy:
    def __init__(self, configuration):
        print("printed by the constructor")

    def call(self, input_payload=None):
        print("printed by the call")
        sys.stdout.flush()
        os.write(1, b"written to descriptor 1\\n")
        subprocess.run(["echo", "printed by a child"])
        sys.stderr.write("to stderr\\n")
        return {"calm": True}
"""


def test_stdout_is_the_result_alone_whatever_a_provider_prints(
    flowtoy: Run, write: Write, tmp_path: Path
) -> None:
    # cli
    path = install_provider(tmp_path / "site", "noisy", "Noisy", NOISY)
    done = flowtoy(
        "run",
        write("flow: [{name: a, source: noisy, output: [{name: x}]}]"),
        "-j",
        env={"PYTHONPATH": path},
    )
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout) == {"a": {"x": {"calm": True}}}


LONG = """
flow:
  - name: long
    source: process
    input: {command: [sh, -c, "head -c 200000 /dev/zero | tr '\\\\0' x"]}
    output: [{name: text, value: stdout}, {name: short, value: returncode}]
"""


def test_a_reader_that_has_had_enough_gets_no_traceback(
    write: Write, tmp_path: Path
) -> None:
    # cli: `flowtoy run … | head`
    line = f'"{sys.executable}" -m flowtoy_dagster run "{write(LONG)}" -j | head -c1'
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout == "{"
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_closed_stdout_gets_no_traceback(write: Write, tmp_path: Path) -> None:
    line = f'exec "{sys.executable}" -m flowtoy_dagster run "{write(TWO)}" -o out.json -q >&-'
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out.json").read_text()) == TWO_OUTPUTS


def on_a_terminal(*arguments: str, folder: Path, **variables: str) -> tuple[int, str, str]:
    """Run with stdout on a terminal: the exit code, what the terminal got, and stderr."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", **variables}
    with subprocess.Popen(
        [*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE,
        cwd=folder, env=environment,
    ) as process:
        os.close(slave)
        got = {master: b"", process.stderr.fileno(): b""}  # type: ignore[union-attr]
        errors = process.stderr.fileno()  # type: ignore[union-attr]
        still = set(got)
        end = time.monotonic() + DEADLINE
        while still and time.monotonic() < end:
            for descriptor in select.select(list(still), [], [], 1)[0]:
                try:
                    data = os.read(descriptor, 1 << 16)
                except OSError:  # the terminal's other side is closed
                    data = b""
                if not data:
                    still.discard(descriptor)
                got[descriptor] += data
        os.close(master)
        process.kill() if still else process.wait(DEADLINE)
    return process.returncode, got[master].decode().replace("\r\n", "\n"), got[errors].decode()


def test_a_terminal_is_shown_long_values_in_part_and_told_so(
    write: Write, tmp_path: Path
) -> None:
    # cli: on a terminal it may shorten long values and says so
    code, shown, stderr = on_a_terminal(str(write(LONG)), folder=tmp_path)
    assert code == 0, stderr
    value = json.loads(shown)["long"]
    assert value == {"text": "x" * 2000 + "… (200000 characters)", "short": 0}
    assert "long values are shortened; -j prints all" in stderr


def test_json_on_a_terminal_is_complete_and_without_colour(write: Write, tmp_path: Path) -> None:
    # cli: -j is always complete JSON; NO_COLOR is honoured
    code, shown, stderr = on_a_terminal("-j", str(write(LONG)), folder=tmp_path, NO_COLOR="1")
    assert code == 0, stderr
    assert json.loads(shown) == {"long": {"text": "x" * 200_000, "short": 0}}
    assert "shortened" not in stderr
    assert "\x1b" not in shown + stderr


def test_an_interrupt_ends_the_run_and_what_it_started_with_130(
    write: Write, tmp_path: Path
) -> None:
    # cli, runtime 9
    path = write(
        """
        flow:
          - name: long
            source: process
            input: {command: [sh, -c, "echo $$ > pid.part; mv pid.part pid; exec sleep 100"]}
          - {name: after, source: process, depends_on: long, input: {command: [touch, ran]}}
        """
    )
    process = subprocess.Popen(
        [*COMMAND, str(path), "-j"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=tmp_path,
    )
    try:
        end = time.monotonic() + DEADLINE
        while not (tmp_path / "pid").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert not (tmp_path / "ran").exists()
    assert stdout == "" or json.loads(stdout) == {"long": None, "after": None}
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_a_configuration_may_come_from_standard_input(flowtoy: Run) -> None:
    # language 1.1
    done = flowtoy("run", "-", "-j", stdin=textwrap.dedent(TWO))
    assert done.code == 0, done.stderr
    assert done.json == TWO_OUTPUTS
