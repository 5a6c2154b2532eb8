"""Tab in real shells: what is put into the command line, as the shell itself then reads it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowtoy_dagster import run_flow
from flowtoy_dagster.cli.completion.typed import split

DEADLINE = 120.0
FLOW = """\
name: shop
runner: {executor: in_process}
params:
  kind: {type: string, enum: [full, new], default: new}
  really: {type: boolean, default: false}
flow:
  - {name: fetch, source: process, input: {command: "true"}}
  - {name: load all, source: process, input: {command: "true"}}
"""
SETTINGS = {
    "bash": (".bashrc", "PS1='> '\n"),
    "zsh": (".zshrc", "PS1='> '\nautoload -Uz compinit\ncompinit\n"),
    "fish": (
        ".config/fish/config.fish",
        "function fish_prompt; echo -n '> '; end\nset -g fish_greeting\n"
        "set -g fish_autosuggestion_enabled 0\n",
    ),
}
COMMANDS = {"bash": ["bash", "--noprofile", "-i"], "zsh": ["zsh", "-i"], "fish": ["fish", "-i"]}
COMPLETED = {
    "run m": ["run", "my flow.yaml"],
    "run my\\ ": ["run", "my flow.yaml"],
    "run 'my": ["run", "my flow.yaml"],
    "run a:": ["run", "a:b.yaml"],
    "run é": ["run", "é.yaml"],
    "run flows/": ["run", "flows/a.yaml"],
    "run shop.yaml --par": ["run", "shop.yaml", "--param"],
    "run shop.yaml --param kind=f": ["run", "shop.yaml", "--param", "kind=full"],
    "run shop.yaml --param=kind=f": ["run", "shop.yaml", "--param=kind=full"],
    "run shop.yaml --param=r": ["run", "shop.yaml", "--param=really="],
    "step l": ["step", "load all"],
    "step load\\ ": ["step", "load all"],
    "runs show last:sh": ["runs", "show", "last:shop"],
    "retry last --from f": ["retry", "last", "--from", "fetch"],
    "run shop.yaml --env-file n": ["run", "shop.yaml", "--env-file", "notes.txt"],
}


class Shell:
    """An interactive shell in a terminal of its own."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._terminal, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self._process = subprocess.Popen(  # its terminal, so that it controls jobs
            command, stdin=inside, stdout=inside, stderr=inside, env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )  # fmt: skip
        os.close(inside)
        self._printed = b""
        self._asked = 0

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def wait_for(self, pattern: bytes) -> re.Match[bytes]:
        """What matches in what is printed next."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            found = re.search(pattern, self._printed, re.DOTALL)
            if found is not None:
                self._printed = self._printed[found.end():]
                return found
            if select.select([self._terminal], [], [], 0.5)[0]:
                self._printed += os.read(self._terminal, 1 << 16)
        raise AssertionError(self._printed.decode(errors="replace"))

    def complete(self, line: str) -> list[str]:
        """The words that the shell has at the end of a line and Tab."""
        self._asked += 1
        begin, end = f"b{self._asked}b", f"e{self._asked}e"
        self.type(f"flowtoy {line}\t\x01printf '\\n{{%s}}' {begin} \x05 {end}\n")
        found = self.wait_for(rf"\n\{{{begin}\}}(.*?)\{{{end}\}}".encode())
        return re.findall(r"\{(.*?)\}", found[1].decode())[1:]

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._terminal)


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(
    request: pytest.FixtureRequest, tmp_path: Path, made_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    """A shell that `flowtoy --install-completion` has set up, in a folder with flows."""
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    user, work = tmp_path / "user", tmp_path / "work"
    work.mkdir()
    (work / "flows").mkdir()
    (work / "notes.txt").touch()
    for file in ("shop", "my flow", "a:b", "é", "flows/a", "x$(touch made)y", "x`touch made`"):
        (work / f"{file}.yaml").write_text(FLOW)
    monkeypatch.chdir(work)
    run_flow("shop.yaml")
    file, settings = SETTINGS[name]
    (user / file).parent.mkdir(parents=True)
    (user / file).write_text(settings)
    environment = {
        **os.environ, "HOME": str(user), "SHELL": shutil.which(name) or "", "TERM": "xterm",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8",
    }  # fmt: skip
    for prefix in ("XDG_", "ZDOTDIR", "FPATH"):
        environment = {k: v for k, v in environment.items() if not k.startswith(prefix)}
    first = Shell(COMMANDS[name], environment)
    try:
        first.wait_for(b"> ")
        first.type("flowtoy --install-completion\n")
        first.wait_for(b"completion installed in")
        first.wait_for(b"> ")
    finally:
        first.close()
    opened = Shell(COMMANDS[name], environment)
    try:
        opened.wait_for(b"> ")
        opened.type("echo rea''dy\n")
        opened.wait_for(b"ready")
        yield opened
    finally:
        opened.close()


def test_a_shell_completes_what_it_can_read_again_and_executes_nothing(shell: Shell) -> None:
    assert {line: shell.complete(line) for line in COMPLETED} == COMPLETED
    shell.type("flowtoy run x\t\x15")  # and clear the line
    assert shell.complete("run shop.yaml --par") == ["run", "shop.yaml", "--param"]
    assert not list(Path().rglob("made"))


@pytest.mark.parametrize(
    ("line", "words", "quote"),
    [
        ("flowtoy run ", ["flowtoy", "run", ""], ""),
        ("flowtoy  run a", ["flowtoy", "run", "a"], ""),
        ("step load\\ ", ["step", "load "], ""),
        ("step 'load ", ["step", "load "], "'"),
        ('step "a\\"b \\c', ["step", 'a"b \\c'], '"'),
        ("a'b c'd", ["ab cd"], ""),
        ("a\\", ["a\\"], ""),
        ("", [""], ""),
    ],
)
def test_the_beginning_of_a_line_is_split_as_shells_do(
    line: str, words: list[str], quote: str
) -> None:
    assert split(line) == (words, quote)
