"""What `flowtoy --install-completion` must add for zsh."""

from __future__ import annotations

import contextlib
from pathlib import Path

_CALL = '\n_flowtoy_completion "$@"\n'


def complete_first_tab() -> None:
    """Let the file that was installed for zsh complete when zsh loads it: at the first Tab.

    Typer's only defines a function then, and nothing is offered until Tab is pressed again.
    """
    file = Path.home() / ".zfunc" / "_flowtoy"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = file.read_text("utf-8")
        if "compdef _flowtoy_completion flowtoy" in text and not text.endswith(_CALL):
            file.write_text(text + _CALL, "utf-8")
