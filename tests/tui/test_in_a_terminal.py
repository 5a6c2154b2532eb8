"""The terminal page, and the lines of `flowtoy run`, in a real terminal: tmux."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from ports import unused_port  # type: ignore[import-not-found]
from programs import need  # type: ignore[import-not-found]

DEADLINE = 120.0
FLOWTOY = f"{shlex.quote(sys.executable)} -m flowtoy_dagster"
HELD = """
name: held
flow:
  - name: first
    source: process
    input: {command: [sh, -c, "echo $$ > pid; until test -e go; do sleep 0.05; done; echo free"]}
    output: [{name: text, value: stdout}]
  - {name: second, source: process, depends_on: first, input: {command: [cat, absent]}}
"""


class Tmux:
    """A shell in a terminal of tmux."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "tmux")
        shell = "PS1='$ ' exec sh"
        environment = {**os.environ, "CI": "", "LC_ALL": "C.UTF-8"}
        for name in ("TMUX", "COLUMNS", "LINES"):
            environment.pop(name, None)
        subprocess.run(
            ["tmux", "-S", self._socket, "-f", "/dev/null", "-u", "new-session", "-d",
             "-x", "80", "-y", "24", "-c", str(folder), shell],
            check=True, env=environment,
        )

    def __call__(self, *words: str, check: bool = True) -> str:
        """Run one of tmux's own commands."""
        return subprocess.run(
            ["tmux", "-S", self._socket, *words], check=check, capture_output=True, text=True
        ).stdout

    def run(self, command: str) -> None:
        """Type a command; the shell tells its exit code."""
        self("send-keys", "-l", f"{command}; echo \"code $?\"")
        self("send-keys", "Enter")

    def press(self, *keys: str) -> None:
        """Press keys."""
        self("send-keys", *keys)

    def until(self, *patterns: str) -> str:
        """Wait until the terminal matches all patterns; gives what it shows, and has shown."""
        end = time.monotonic() + DEADLINE
        shown = ""
        while not all(re.search(pattern, shown) for pattern in patterns):
            shown = self("capture-pane", "-p", "-S", "-")
            assert time.monotonic() < end, shown
            time.sleep(0.05)
        return shown


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    """A terminal of 80 columns and 24 lines."""
    need("tmux")
    made = Tmux(tmp_path)
    yield made
    made("kill-server", check=False)


def test_quitting_ends_the_run_and_gives_the_terminal_back(
    tmux: Tmux, write: Callable[..., Path], tmp_path: Path
) -> None:
    write(HELD)
    tmux.run("stty -a > before; echo still here; " + f"{FLOWTOY} tui flow.yaml")
    shown = tmux.until("›▶ first +running", r"(?m)^ held  ▶ running .* run [0-9a-f]{8}")
    assert "still here" not in shown
    tmux("resize-window", "-x", "40", "-y", "20")
    tmux.until(r"›▶ first +\d+\.\d s *\n")
    tmux.press("q")
    tmux.until(r"Cancel the run and quit\?")
    tmux.press("y")
    shown = tmux.until("code 130")
    assert "still here" in shown
    assert "cancelled: 0 succeeded, 1 failed, 1 skipped" in shown.replace("\n", "")
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()
    tmux("resize-window", "-x", "80", "-y", "24")
    tmux.run("stty -a > after")
    tmux.until("code 0")
    settings = [(tmp_path / name).read_text().split("\n", 1)[1] for name in ("before", "after")]
    assert settings[0] == settings[1]


def test_a_failed_run_shows_why_is_retried_and_gives_its_exit_code(
    tmux: Tmux, write: Callable[..., Path], tmp_path: Path
) -> None:
    write(HELD)
    (tmp_path / "go").touch()
    port = unused_port()
    tmux.run(f"{FLOWTOY} tui flow.yaml --status-port {port} --address-file address")
    tmux.until("›✗ second(.|\n)* r Retry", "cat exited with code 1: cat: absent: No such file")
    tmux.press("Up")
    tmux.until('"text": "free')
    (tmp_path / "absent").touch()
    tmux.press("r")
    shown = tmux.until("✓ succeeded(.|\n)*✓ first +reused(.|\n)*✓ second +succeeded")
    # cli, status API: it follows the page
    address = (tmp_path / "address").read_text().strip()
    assert (tmp_path / "address").stat().st_mode & 0o077 == 0
    known = {"Authorization": f"Bearer {address.partition('?token=')[2]}"}
    with urlopen(Request(f"http://127.0.0.1:{port}/status", headers=known)) as answer:
        status = json.load(answer)
    assert status["state"] == "succeeded"
    assert status["dagster_run_id"][:8] in shown
    tmux.press("q")
    shown = tmux.until("code 0")
    assert "succeeded: 2 succeeded in" in shown
    assert f"status at http://127.0.0.1:{port}/status?token=" in shown


@pytest.mark.parametrize("end", ["SIGTERM", "the terminal closes"])
def test_page_and_run_end_together(
    tmux: Tmux, write: Callable[..., Path], tmp_path: Path, end: str
) -> None:
    write(HELD)
    tmux.run(f"{FLOWTOY} tui flow.yaml & echo $! > page; fg")
    tmux.until("›▶ first +running")
    pids = [int((tmp_path / name).read_text()) for name in ("page", "pid")]
    if end == "SIGTERM":
        os.kill(pids[0], signal.SIGTERM)
        tmux.until("code 130")
    else:
        tmux("kill-server")
    deadline = time.monotonic() + DEADLINE
    while any(Path("/proc", str(pid)).exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_elsewhere_is_watched_by_its_status_api(
    tmux: Tmux, write: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    served = subprocess.Popen(
        [sys.executable, "-m", "flowtoy_dagster", "serve", str(write(HELD)), "--port", "0"],
        stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )
    try:
        assert served.stderr is not None
        address = re.search(r"http://[^,]+", served.stderr.readline())
        assert address is not None
        while "served until Ctrl-C" not in served.stderr.readline():
            """The run goes on."""
        tmux.run(f"RUNNER_STATUS_URL='{address[0]}' {FLOWTOY} tui --show-logs")
        shown = tmux.until("›✗ second", "cat exited with code 1: cat: absent")
        assert "Retry" not in shown
        tmux.press("Up")
        tmux.until("a status API does not have what steps print")
        tmux.press("Right", "Right")  # past the chart
        tmux.until('"text": "free')
        tmux.press("q")
        tmux.until("code 1")
    finally:
        served.send_signal(signal.SIGINT)
        served.communicate(timeout=DEADLINE)


def test_lines_of_a_run_survive_a_terminal_that_changes_its_size(
    tmux: Tmux, write: Callable[..., Path], tmp_path: Path
) -> None:
    # cli, progress: what was drawn for a wide terminal takes more rows in a narrow one
    write(HELD)
    tmux.run(f"{FLOWTOY} run flow.yaml -q")
    tmux.until(r"0/2  1 running  [1-9]")
    tmux("resize-window", "-x", "30", "-y", "24")
    tmux.until("0/…")
    tmux("resize-window", "-x", "80", "-y", "24")
    shown = tmux.until(r"0/2  1 running  \d")
    # What is there may be the drawing for the narrow one, which the terminal has put together.
    before = re.escape(re.findall(r"0/2  1 running  (\S+)", shown)[-1])
    tmux.until(rf"(?s)0/2  1 running  (?!{before})\d(?!.*0/2  1 running)")
    (tmp_path / "go").touch()
    shown = tmux.until("code 1")
    assert shown.count("✓ first") == 1
    assert "0/2" not in shown


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["flow.yaml", "--status-url", "http://127.0.0.1:9"], {}, "give either the files of a f"),
        ([], {}, "give either the files of a flow or --status-url (or RUNNER_STATUS_URL"),
        (["absent.yaml"], {}, "absent.yaml"),
        (["flow.yaml"], {}, "flowtoy tui needs a terminal; flowtoy run prints lines"),
        (["flow.yaml"], {"RUNNER_STATUS_URL": "not read"}, "flowtoy tui needs a terminal"),
        (["--status-url", "ftp://x"], {}, "'ftp://x' is not a status URL"),
        (["--status-url", "CLOSED"], {}, "can't be reached: connection refused"),
        ([], {"RUNNER_STATUS_URL": "CLOSED"}, "can't be reached: connection refused"),
        (["flow.yaml", "--max-workers", "many"], {}, "--max-workers"),
        (["--status-url", "http://127.0.0.1:9", "--status-port", "0"], {}, "leave out --status-p"),
    ],
    ids=["both", "neither", "no such file", "no terminal", "a flow wins over the variable",
         "not an address", "nobody there", "nobody where the variable says", "not a number",
         "served already"],
)
def test_a_wrong_command_line_exits_with_2(
    flowtoy: Callable[..., Any], write: Callable[..., Path], arguments: list[str],
    variables: dict[str, str], message: str,
) -> None:
    write(HELD)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens, and nobody else can
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
        words = [word.replace("CLOSED", closed) for word in arguments]
        env = {name: value.replace("CLOSED", closed) for name, value in variables.items()}
        done = flowtoy("tui", *words, env=env)
    assert done.code == 2
    assert done.stdout == ""
    assert message in " ".join(re.sub("[│╭╮╰╯─]", "", done.stderr).split())
    assert "Traceback" not in done.stderr


def test_without_textual_it_says_what_to_install(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    write(HELD)
    hide = (
        "import importlib.util as u, sys; find = u.find_spec; "
        "u.find_spec = lambda name, *rest: None if name == 'textual' else find(name, *rest); "
        "sys.argv = ['flowtoy', 'tui', 'flow.yaml']; "
        "from flowtoy_dagster.cli import main; main()"
    )
    # Hidden rather than uninstalled: other tests need it meanwhile.
    done = subprocess.run(
        [sys.executable, "-c", hide], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr == "flowtoy tui needs Textual: pip install 'flowtoy-dagster[tui]'\n"
