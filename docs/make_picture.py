"""Make the moving picture of the README from a real run: `python docs/make_picture.py`.

Commands run in a terminal of their own, against the shop API. What the screen shows becomes an
animated SVG, which browsers and GitHub play without a script. Long waits are shortened.
"""

from __future__ import annotations

import fcntl
import html
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pyte

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "assets" / "run.svg"
COLUMNS, LINES = 92, 25
COMMANDS = ("flowtoy graph mixed.yaml", "flowtoy run mixed.yaml -q", "flowtoy runs show last")
LONGEST, AT_THE_END = 1.2, 5.0
"""Seconds that a picture stays at most, and that the last one stays."""
WIDTH, HEIGHT, MARGIN = 8.43, 19, 14
COLORS = {
    "default": "#d8dee9", "black": "#4c566a", "red": "#e5737f", "green": "#a3be8c",
    "brown": "#ebcb8b", "blue": "#81a1c1", "magenta": "#b48ead", "cyan": "#88c0d0",
    "white": "#eceff4", "brightblack": "#7b88a1",
}
_WORDS = re.compile(r"\S+(?: \S+)*")


class Run(NamedTuple):
    """Neighbouring characters of one look."""

    column: int
    text: str
    color: str
    bold: bool


Frame = tuple[tuple[Run, ...], ...]


def script() -> str:
    """What the terminal runs: each command after a prompt, as if somebody typed it."""
    lines = ["clear"]
    for command in COMMANDS:
        lines += ["printf '\\033[32m$\\033[0m '"]
        lines += [f"printf '%s' '{letter}'; sleep 0.02" for letter in command]
        lines += ["sleep 0.4; echo", command, "sleep 1; echo"]
    return "\n".join(lines)


def chunks(home: str) -> Iterator[tuple[float, bytes]]:
    """What the commands write, and when."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    shop = [sys.executable, "shop_api.py", "--delay", "0.5", "--", "bash", "-c", script()]
    child = subprocess.Popen(
        shop, cwd=ROOT / "examples", stdin=terminal, stdout=terminal, stderr=terminal,
        start_new_session=True,
        env={"PATH": path, "FLOWTOY_HOME": home, "HOME": home, "TERM": "xterm-256color",
             "LANG": "C.UTF-8", "COLUMNS": str(COLUMNS)},
    )
    os.close(terminal)
    while child.poll() is None or select.select([main], [], [], 0.2)[0]:
        if select.select([main], [], [], 0.1)[0]:
            try:
                data = os.read(main, 65536)
            except OSError:  # the other end is closed
                break
            yield time.monotonic(), data
    os.close(main)
    child.wait()


def frame_of(screen: pyte.Screen) -> Frame:
    """What a screen shows."""
    lines = []
    for number in range(LINES):
        row = screen.buffer[number]
        cells = [(column, row[column]) for column in range(COLUMNS)]
        runs = []
        for (color, bold), group in groupby(cells, lambda cell: (cell[1].fg, cell[1].bold)):
            part = list(group)
            text = "".join(cell.data for _, cell in part)
            found = _WORDS.finditer(text)
            runs += [Run(part[0][0] + one.start(), one[0], color, bold) for one in found]
        lines.append(tuple(runs))
    return tuple(lines)


def record() -> list[tuple[float, Frame]]:
    """Each picture, and for how many seconds it stays."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    shown: list[tuple[float, Frame]] = []
    with tempfile.TemporaryDirectory() as home:
        for moment, data in chunks(home):
            stream.feed(data)
            frame = frame_of(screen)
            if shown and moment - shown[-1][0] < 0.05:
                shown[-1] = (shown[-1][0], frame)
            elif not shown or frame != shown[-1][1]:
                shown.append((moment, frame))
    ends = [moment for moment, _ in shown[1:]]
    stays = [min(end - began, LONGEST) for (began, _), end in zip(shown, ends, strict=False)]
    return list(zip([*stays, AT_THE_END], (frame for _, frame in shown), strict=True))


def drawn(frame: Frame) -> str:
    """A picture as SVG."""
    lines = []
    for number, runs in enumerate(frame):
        for run in runs:
            look = f' fill="{COLORS.get(run.color, "#" + run.color)}"'
            look = "" if run.color == "default" else look
            look += ' font-weight="bold"' if run.bold else ""
            x, y = MARGIN + run.column * WIDTH, 2 * MARGIN + number * HEIGHT
            length = len(run.text) * WIDTH
            lines.append(
                f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}"{look}>'
                f"{html.escape(run.text, quote=False)}</text>"
            )
    return "".join(lines)


def picture(frames: list[tuple[float, Frame]]) -> str:
    """The whole picture. Where nothing moves, the last frame is what is seen."""
    total = sum(stay for stay, _ in frames)
    width, height = COLUMNS * WIDTH + 2 * MARGIN, LINES * HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}"'
        f' width="{width:.0f}" height="{height:.0f}" role="img">'
        f"<title>{html.escape(', then '.join(COMMANDS))}</title>"
        '<rect width="100%" height="100%" rx="8" fill="#2e3440"/>'
        f'<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="14"'
        f' fill="{COLORS["default"]}">'
    ]
    began = 0.0
    for number, (stay, frame) in enumerate(frames):
        start, end = began / total, (began + stay) / total
        began += stay
        last = number == len(frames) - 1
        values, times = "hidden;visible;hidden", f"0;{start:.4f};{end:.4f}"
        if last:
            values, times = "hidden;visible", f"0;{start:.4f}"
        elif number == 0:
            values, times = "visible;hidden", f"0;{end:.4f}"
        parts.append(
            f'<g visibility="{"visible" if last else "hidden"}">'
            f'<animate attributeName="visibility" calcMode="discrete" dur="{total:.2f}s"'
            f' repeatCount="indefinite" values="{values}" keyTimes="{times}"/>{drawn(frame)}</g>'
        )
    return "\n".join([*parts, "</g></svg>\n"])


if __name__ == "__main__":
    TARGET.write_text(picture(record()), encoding="utf-8")
    print(f"{TARGET}: {TARGET.stat().st_size // 1024} KiB")
