"""What the live area of `flowtoy run` shows of a run, and how it is drawn (cli, progress)."""

from __future__ import annotations

import fcntl
import os
import pty
import random
import struct
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Any

import pyte
import pytest

from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.progress.area import Line, TerminalArea
from flowtoy_dagster.progress.lines import ProgressLines
from flowtoy_dagster.progress.rows import Board
from flowtoy_dagster.runs.status.models import Change, StepStatus
from flowtoy_dagster.terminal import can_redraw, plain

NOW = 1_000_000.0


def board_of(*names: str, reused: tuple[str, ...] = (), unicode: bool = True) -> Board:
    """The board of a flow in which each step waits for the one before."""
    flow = load_flow(
        {
            "name": "some",
            "flow": [
                {"name": name, "source": "env", **({"depends_on": names[i - 1]} if i else {})}
                for i, name in enumerate(names)
            ],
        }
    )
    return Board(flow, reused, unicode=unicode)


def change(name: str, state: Any, **facts: Any) -> Change:
    """A change of a step that began 5 s ago and ends now, if it does."""
    retry_in = facts.pop("retry_in", None)
    reason = facts.pop("reason", "")
    ended = NOW if state in ("succeeded", "failed") else None
    step = StepStatus(name, state=state, **{"attempt": 1, "started_at": NOW - 5, **facts})
    step.ended_at = ended
    return Change(step, NOW, retry_in, reason)


def texts(lines: Iterator[Line]) -> list[str]:
    """The lines without their styles."""
    return ["".join(text for _, text in line).rstrip() for line in lines]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (None, "· one  waits for its turn"),
        (change("one", "running"), "⠋ one  running 5.0 s"),
        (change("one", "running", attempt=2), "⠋ one  running 5.0 s, attempt 2"),
        (
            change("one", "running", retry_in=2.0, reason="sh exited with code 1"),
            "↻ one  attempt 1 failed, next in 2.0 s: sh exited with code 1",
        ),
        (change("one", "succeeded"), "✓ one  succeeded in 5.0 s"),
        (change("one", "failed", error="no"), "✗ one  failed after 5.0 s"),
        (change("one", "skipped", error="'zero' failed"), "- one  skipped: 'zero' failed"),
    ],
    ids=["pending", "running", "second attempt", "to retry", "succeeded", "failed", "skipped"],
)
def test_a_line_tells_state_elapsed_and_attempt(told: Change | None, shown: str) -> None:
    board = board_of("one", "two")
    if told is not None:
        board.take_in(told)
    assert texts(board.frame(24, NOW, 7.0))[0] == shown


def test_a_step_says_what_it_waits_for() -> None:
    board = board_of("one", "two", "three")
    assert texts(board.final(24, NOW))[1:] == ["· two    waits for one", "· three  waits for two"]
    board.take_in(change("one", "succeeded"))
    assert texts(board.final(24, NOW))[1] == "· two    waits for its turn"


def test_the_bar_counts_what_has_ended_and_what_was_reused() -> None:
    # cli: a bar, the count
    board = board_of("a", "b", "c", "d", "e", "f", reused=("a", "b"))
    board.take_in(change("c", "failed", error="no"))
    board.take_in(change("d", "running"))
    board.take_in(change("e", "running", retry_in=1.0))
    *rows, bar = texts(board.frame(24, NOW, 75.0))
    assert rows[0] == "✓ a  reused"
    assert bar == (
        "━━━━━━━━━━━━────────────  3/6  1 running  1 to be retried  1 failed  1 min 15 s"
    )


def test_a_terminal_that_knows_only_ascii_gets_only_that() -> None:
    board = board_of("a", "b", unicode=False)
    board.take_in(change("a", "succeeded"))
    assert "\n".join(texts(board.frame(24, NOW, 1.0))).isascii()


def test_where_there_is_no_room_for_all_the_running_and_the_last_to_end_are_shown() -> None:
    names = [f"s{i:03}" for i in range(300)]
    board = board_of(*names)
    for name in names[:100]:
        board.take_in(change(name, "succeeded"))
    for name in names[100:103]:
        board.take_in(change(name, "running"))
    *rows, bar = texts(board.frame(24, NOW, 1.0))
    assert [row.split()[1] for row in rows] == names[95:103]
    assert "100/300  3 running" in bar
    assert list(board.final(24, NOW)) == []


@pytest.mark.parametrize("height", [1, 2, 3, 4, 6, 10, 24])
def test_a_frame_has_fewer_lines_than_the_terminal(height: int) -> None:
    names = [f"s{i:03}" for i in range(100)]
    board = board_of(*names)
    for name in names[:50]:
        board.take_in(change(name, "succeeded"))
    for name in names[50:90]:
        board.take_in(change(name, "running"))
    frame = texts(board.frame(height, NOW, 1.0))
    assert len(frame) <= max(1, height - 1)
    if height in (4, 24):
        assert frame[-2] == f"  … and {40 - (height - 3)} more"


def test_a_name_can_not_move_the_cursor() -> None:
    board = board_of("one\x1b[2Jtwo\tthree\x07")
    assert "one" in texts(board.final(24, NOW))[0]
    assert plain("a\x1b[31mb\x1b[0m\x1b]0;title\x07c\x9b2Jd\re\tf") == "abcde    f"
    board.take_in(change("one\x1b[2Jtwo\tthree\x07", "skipped", error="'\x1b[5A' failed"))
    assert texts(board.final(24, NOW)) == ["- onetwo    three  skipped: '' failed"]


class Glass:
    """A terminal of some size, and an area on it."""

    def __init__(self, columns: int, lines: int, *, coloured: bool = False) -> None:
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.resize(columns, lines)
        self.screen = pyte.HistoryScreen(columns, lines, history=100)
        self.screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.ByteStream(self.screen)
        self.file = os.fdopen(slave, "w", encoding="utf-8")
        self.area = TerminalArea(self.file, coloured=coloured)

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size."""
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def draw(self, *lines: str, above: tuple[str, ...] = (), style: str = "") -> bytes:
        """Draw; gives what was sent to the terminal."""
        self.area.draw([[(style, line)] for line in lines], above)
        os.set_blocking(self.master, False)
        data = b""
        try:
            while True:
                data += os.read(self.master, 1 << 16)
        except BlockingIOError:
            pass
        self.feed(data)
        return data

    def feed(self, data: bytes) -> None:
        """Have the terminal show what it is sent."""
        self._stream.feed(data)

    def close(self) -> None:
        """Leave nothing behind."""
        self.file.close()
        os.close(self.master)

    @property
    def history(self) -> list[str]:
        """The lines that have scrolled away."""
        columns = range(self.screen.columns)
        top = self.screen.history.top
        return ["".join(line[x].data for x in columns).rstrip() for line in top]

    @property
    def shown(self) -> list[str]:
        """What can be seen, without empty lines at the end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")


@pytest.fixture
def glass() -> Iterator[Glass]:
    """A terminal of 20 columns and 8 lines."""
    made = Glass(20, 8)
    yield made
    made.close()


def test_lines_take_the_place_of_those_before(glass: Glass) -> None:
    glass.draw("one", "two", "three")
    glass.draw("uno", "dos")
    assert glass.shown == ["uno", "dos"]
    assert (glass.screen.cursor.x, glass.screen.cursor.y) == (0, 2)


@pytest.mark.parametrize("seed", range(20))
def test_the_screen_is_what_was_printed_above_and_then_the_last_lines(seed: int) -> None:
    chance = random.Random(seed)
    glass = Glass(30, 10)
    above: list[str] = []
    for number in range(12):
        rows = [f"row {i} of {number}" for i in range(chance.randrange(1, 6))]
        new = [f"above {len(above) + i}" for i in range(chance.choice([0, 0, 0, 1, 4]))]
        if chance.random() < 0.2:
            glass.feed(b"^C")  # what the terminal itself writes at the cursor
        glass.draw(*rows, above=tuple(new))
        above += new
        seen = "\n".join([*glass.history, *glass.shown]).rstrip().split("\n")
        assert seen == [*above, *rows]
    glass.close()


def test_what_is_printed_above_stays(glass: Glass) -> None:
    glass.draw("one", "two", "three")
    glass.draw("one", "two", above=("a failure that is longer than a line", "its reason"))
    glass.draw("three")
    assert glass.shown == ["a failure that is lo", "nger than a line", "its reason", "three"]


def test_more_than_the_terminal_has_scrolls_and_leaves_nothing_behind(glass: Glass) -> None:
    for number in range(30):
        glass.draw("one", "two", "bar", above=(f"above {number}",))
    assert glass.shown == [*(f"above {n}" for n in range(26, 30)), "one", "two", "bar"]
    history = ["".join(line[x].data for x in range(20)).rstrip() for line in
               glass.screen.history.top]
    assert history == [f"above {n}" for n in range(26)]


def test_a_terminal_that_becomes_narrower_keeps_nothing_of_the_lines_before() -> None:
    wide = Glass(40, 8)
    wide.draw("a" * 39, "b" * 39)
    wide.resize(20, 8)
    # The terminal has broken each line into two rows.
    assert wide.draw("short").startswith(b"\r\x1b[4A\x1b[J")
    wide.close()


def test_the_terminals_own_width_counts_and_not_an_exported_one(
    glass: Glass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "5")
    glass.draw("a" * 19, "b")
    assert glass.shown == ["a" * 19, "b"]


def test_lines_are_cut_off_at_the_width_also_wide_ones(glass: Glass) -> None:
    glass.draw("a" * 19, "b" * 20, "日本語" * 4)
    assert glass.shown == ["a" * 19, "b" * 18 + "…", "日本語" * 3 + "…"]


def test_nothing_is_sent_where_nothing_has_changed(glass: Glass) -> None:
    assert glass.draw("one", "two")
    assert glass.draw("one", "two") == b""


def test_styles_are_colours_and_none_without_colour(glass: Glass) -> None:
    # cli: NO_COLOR is honoured
    assert b"\x1b[32m" not in glass.draw("one", style="good")
    coloured = Glass(20, 8, coloured=True)
    assert b"\x1b[32mone\x1b[0m" in coloured.draw("one", style="good")
    coloured.close()


@pytest.mark.parametrize(
    ("variables", "live"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True),
        ({"TERM": "xterm", "CI": "false"}, True),
        ({"TERM": "xterm", "CI": "true"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
    ids=["terminal", "no colour", "CI is false", "CI", "dumb", "unknown"],
)
def test_only_a_terminal_that_can_do_it_is_redrawn(
    glass: Glass, variables: dict[str, str], live: bool
) -> None:
    assert can_redraw(glass.file, variables) is live
    with open(os.devnull, "w") as file:
        assert not can_redraw(file, variables)
    assert not can_redraw(None, variables)


def test_lines_tell_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ProgressLines(sys.stderr)
    lines.start(load_flow({"name": "some", "flow": [{"name": "one", "source": "env"}]}))
    lines.show(change("one", "failed", error="no", called="it", stderr="a\nb"))
    lines.stop()
    told = capsys.readouterr().err.splitlines()
    assert told[0].endswith("  one  failed after 5.0 s")
    assert told[1:] == ["    called: it", "    reason: no", "    stderr: a", "    stderr: b"]
