"""Texts of others made safe for people to read in a terminal.

What a server answers, a command prints, or somebody calls a step may hold sequences that clear the
screen, change the window's title or write to the clipboard, and characters that make a line look
like another one. They are left out of what people read. JSON keeps them, as escapes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

_INVISIBLE = (
    "\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Characters that have no width, or turn the direction of a line."""
_SEQUENCE = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours and movements
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # titles, links
    r"|\x1b[ -/]*[0-~]"
)
# Compiled where they are used: most texts are printable.
_LEFT_OUT = rf"{_SEQUENCE}|[\x00-\x08\x0a-\x1f\x7f-\x9f{_INVISIBLE}]"
_ESCAPED = rf"[\x7f-\x9f{_INVISIBLE}\ud800-\udfff]"
_SURROGATE = r"[\ud800-\udfff]"


def plain(text: str) -> str:
    """A text as one line without what a terminal would obey; half characters are replaced."""
    if text.isprintable():
        return text
    shown = re.sub(_LEFT_OUT, "", text)
    return re.sub(_SURROGATE, "\ufffd", shown.replace("\t", "    "))


def plain_lines(text: str) -> str:
    """The same of each line of a text."""
    return "\n".join(map(plain, text.splitlines()))


def say(text: str, stream: TextIO | None = None) -> None:
    """Print lines for people.

    Args:
        text: what others may have a part in.
        stream: by default stderr, at once.
    """
    target = stream or sys.stderr
    # Where nobody can read what is for people on stderr, nothing that matters is lost.
    errors = () if stream is not None else (OSError, ValueError)
    with contextlib.suppress(*errors):
        if target is not None:  # as it is where the descriptor was closed at the start
            print(plain_lines(text), file=target, flush=stream is None)


def plain_json(text: str) -> str:
    """JSON text whose strings have escapes in place of what a terminal would obey."""
    # What is below U+0020 is escaped by every writer of JSON.
    return re.sub(_ESCAPED, lambda found: json.dumps(found[0])[1:-1], text)


def print_json(value: Any) -> None:
    """Print plain data as JSON; on a terminal without characters that it would obey."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    sys.stdout.write(f"{plain_json(text) if sys.stdout.isatty() else text}\n")


def can_redraw(stream: TextIO | None, environment: Mapping[str, str]) -> bool:
    """Whether a stream is a terminal on which lines can be drawn anew."""
    return (
        stream is not None
        and stream.isatty()
        and environment.get("TERM", "dumb") not in ("", "dumb")
        and environment.get("CI", "").lower() in ("", "0", "false")
    )


def show_sign_of_life() -> None:
    """Show on a terminal that the command has begun; whatever is printed next replaces it."""
    if can_redraw(sys.stderr, os.environ):
        with contextlib.suppress(OSError):
            sys.stderr.write("starting ...\r")
            sys.stderr.flush()
