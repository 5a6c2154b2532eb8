"""Commands as citizens of a Unix system: streams, signals, limits and folders as they are found."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

FLOWTOY = (sys.executable, "-m", "flowtoy_dagster")
HELLO = """
    flow:
      - {name: hi, source: process, input: {command: [echo, hello]},
         output: [{name: text, value: stdout}]}
    """
LONG = """
    flow:
      - {name: long, source: process, input: {command: [sleep, "60"]}}
    """


def shell(script: str, *arguments: str | Path, cwd: Path | None = None) -> Any:
    """Run a shell script with the command as `"$@"`."""
    return subprocess.run(
        ["sh", "-c", script, "sh", *FLOWTOY, *map(str, arguments)],
        capture_output=True, text=True, timeout=200, cwd=cwd,
    )


def test_a_run_needs_no_standard_streams_but_for_its_result(
    write: Callable[..., Path], made_home: Path
) -> None:
    done = shell('"$@" <&- 2>&-', "run", write(HELLO), "-j")
    assert (done.returncode, done.stdout) == (0, '{\n  "hi": {"text":"hello\\n"}\n}\n')
    assert shell('"$@" >&-', "run", write(HELLO), "-j").returncode == 0


def test_a_flow_on_a_closed_stdin_is_a_clear_error() -> None:
    done = shell('"$@" <&-', "run", "-")
    assert done.returncode == 2
    assert "<stdin>:1:1: 'flow' must hold at least one step" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_progress_that_cannot_be_written_does_not_hurt_the_run(
    write: Callable[..., Path], made_home: Path, flowtoy: Callable[..., Any]
) -> None:
    done = shell('"$@" 2> /dev/full', "run", write(HELLO), "-j")
    assert done.returncode == 0
    assert "hello" in done.stdout
    gone = shell('{ "$@"; echo $? > code; } 2>&1 | :', "run", write(HELLO), "-q", cwd=made_home)
    assert gone.returncode == 0
    assert (made_home / "code").read_text() == "0\n"
    assert flowtoy("runs", "--json").json[0]["state"] == "succeeded"


def test_a_run_in_a_deleted_working_directory_is_a_clear_error(
    write: Callable[..., Path], made_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    done = shell('rmdir ../gone; "$@"', "run", write(HELLO), "-j", cwd=tmp_path / "gone")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "the working directory is deleted\n    change to one that exists\n"
    )


def test_a_run_without_enough_descriptors_says_so(
    write: Callable[..., Path], made_home: Path, flowtoy: Callable[..., Any]
) -> None:
    steps = [f"  - {{name: s{n}, source: process, input: {{command: [sleep, '1']}}}}"
             for n in range(40)]
    path = write("\n".join(["runner: {max_workers: 40}", "flow:", *steps]))
    done = shell('ulimit -n 32; "$@"', "run", path, "-q")
    assert done.returncode == 1
    reason = "a worker can't be started: too many open files"
    assert done.stderr.splitlines()[-1] == reason
    assert f"reason   {reason}" in flowtoy("runs", "show", "last").stdout


@contextlib.contextmanager
def started(arguments: Sequence[str | Path], prefix: Sequence[str] = ()) -> Iterator[Any]:
    """A command in a session of its own, which is killed in the end."""
    process = subprocess.Popen(
        [*prefix, *FLOWTOY, *map(str, arguments)],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_run_under_nohup_goes_on_after_a_hangup(
    write: Callable[..., Path], made_home: Path, tmp_path: Path
) -> None:
    wait = "while [ ! -e go ]; do sleep 0.05; done"
    path = write(f"""
        flow:
          - name: long
            source: {{type: process, cwd: {tmp_path}}}
            input: {{command: [sh, -c, "touch running; {wait}"]}}
        """)
    ignoring = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]
    with started(["run", path, "-q"], ignoring) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "running").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGHUP)
        (tmp_path / "go").touch()
        stderr = process.communicate(timeout=200)[1]
    assert process.returncode == 0, stderr


def test_ctrl_c_is_a_commands_own_before_it_loads_more_than_it_must() -> None:
    program = (
        "import os, signal, sys\n"
        "def told(number, handler):\n"
        "    ours = {name for name in sys.modules if name.startswith('flowtoy')}\n"
        "    print(*sorted(ours), 'dataclasses' in sys.modules, flush=True)\n"
        "    os._exit(0)\n"
        "signal.signal = told\n"
        "from flowtoy_dagster.cli import command\n"
        "command()"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
        capture_output=True, text=True, check=True,
    )
    before = ["flowtoy_dagster", "flowtoy_dagster.cli", "flowtoy_dagster.machine",
              "flowtoy_dagster.machine.ctrl_c", "False"]
    assert done.stdout.split() == before, done.stderr


def test_ctrl_c_while_modules_load_is_an_interrupt_at_any_moment(
    write: Callable[..., Path], made_home: Path
) -> None:
    path = write(LONG)
    commands: list[list[str | Path]] = [["run", path, "-q"]] * 6
    commands += [["--help"], ["retry", "last"], ["webui", path, "--port", "0"],
                 ["serve", path, "--port", "0"]]
    # What the installed command does, and a word of when Ctrl-C is its own.
    program = (
        "import sys; from flowtoy_dagster.cli import command;"
        "from flowtoy_dagster.machine import ctrl_c; ctrl_c.end_at_interrupt();"
        "print('ready', file=sys.stderr, flush=True); command()"
    )
    for number, arguments in enumerate(commands):
        process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
        time.sleep(0.15 * number if number < 6 else 0.05)
        process.send_signal(signal.SIGINT)
        stderr = process.communicate(timeout=200)[1]
        assert process.returncode == 130, (arguments, stderr)
        assert "Traceback" not in stderr
        assert "can't import" not in stderr


def test_ctrl_c_in_the_terminal_of_a_web_ui_shows_no_traceback(
    write: Callable[..., Path], made_home: Path
) -> None:
    """The process that loads the flow's job is in the terminal's foreground group, too."""
    with started(["webui", write(LONG), "--port", "0"]) as process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "http://" in line:
                break
        deadline = time.monotonic() + 30
        while not any("grpc" in " ".join(child.cmdline())
                      for child in psutil.Process(process.pid).children()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130
    assert "Traceback" not in rest
    assert "KeyboardInterrupt" not in rest


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_user_that_is_nowhere_must_name_a_home(write: Callable[..., Path]) -> None:
    program = (
        "import os, sys; import flowtoy_dagster.cli; from flowtoy_dagster.runs import run;"
        "os.environ.pop('HOME', 0); os.environ.pop('FLOWTOY_HOME', 0); os.setuid(54321);"
        "sys.argv[1:] = ['runs']; flowtoy_dagster.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "this user has no home directory (HOME is not set)" in done.stderr
    assert "set FLOWTOY_HOME" in done.stderr


def test_names_that_a_locale_cannot_write_do_not_end_a_command(
    write: Callable[..., Path], made_home: Path, flowtoy: Callable[..., Any]
) -> None:
    path = write('flow: [{name: "naïve ✓", source: process, input: {command: [echo, "é✓"]}}]')
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = flowtoy("run", path, "-j", env=plain)
    assert done.code == 0, done.stderr
    assert done.json == {"naïve ✓": {}}
    assert flowtoy("runs", "show", "last", env=plain).code == 0


